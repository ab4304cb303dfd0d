"""Plays a race from recorded scores: after each block some arms leave, until the question is answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from src.race.costs import levels
from src.race.differences import Differences, all_pairs, are_compared, expected
from src.race.recorded import Recorded, seconds_running
from src.race.rules import Exit, Known, Rules, Standing, choice, leave, question
from src.race.tuning import scores
from src.statistics.estimate import Estimate
from src.statistics.intervals import ALPHA, Interval
from src.statistics.planning import MOST_SEEDS, units_needed
from src.statistics.sequential import alpha_at, comparisons, first_look

End = Literal["nothing finished", "one left", "as good as the best", "blocks", "budget", "hopeless"]


@dataclass(frozen=True)
class Look:
    """The arms that were in the race with a block.

    Args:
        block: the number of blocks so far.
        scores: the mean validation score of each arm; errors are negative, so that higher is better.
        behind: by how much each arm is worse than the one that is chosen in the end, with its interval; None: not known
            yet.
    """

    block: int
    scores: dict[str, float]
    behind: dict[str, Interval | None]


@dataclass(frozen=True)
class Race:
    """A race after some blocks.

    Args:
        rules: of the race.
        arms: all that began.
        looks: after each block.
        exits: of the arms that have left.
        racing: the arms that are left.
        chosen: the arm to choose; None if no run has a result.
        loss: by how much it is worse than the best at most; None if that is not known.
        end: why the race has ended; None while it goes on.
        needed: after how many blocks it is expected to be settled; None: that is not known, or no number helps.
        texts: the number of validation texts that are expected to settle it, with the blocks that there are.
        seconds: that all its runs took together.
        full_seconds: that all blocks of all arms would take.
        folds: of the cross-validation whose folds are the blocks; 1 without.
        tuning: the validation score of each setting of learning rates, by arm; None: its trial has failed.
        tuning_seconds: that the trials took; part of `seconds`.
    """

    rules: Rules
    arms: list[str]
    looks: list[Look]
    exits: list[Exit]
    racing: list[str]
    chosen: str | None
    loss: float | None
    end: End | None
    needed: int | None
    texts: int | None
    seconds: float
    full_seconds: float
    folds: int = 1
    tuning: dict[str, dict[str, float | None]] = field(default_factory=dict)
    tuning_seconds: float = 0.0

    @property
    def settled(self) -> bool:
        """Whether the question of the race is answered."""
        return self.end in ("one left", "as good as the best")


def replay(recorded: Recorded, rules: Rules, blocks: int) -> Race:
    """Returns the race after so many blocks.

    Args:
        recorded: the runs; those of later blocks, and of arms that have left, are not used.
        rules: of the race.
        blocks: how many of the blocks have run.
    """
    race = _play(recorded, rules, blocks)
    if race.end in ("budget", "hopeless") and blocks >= first_look(len(recorded.arms)):
        last = _play(recorded, rules, blocks, last=True)  # what later looks would have spent is spent now
        return last if last.settled else replace(last, end=race.end)
    return race


def _play(recorded: Recorded, rules: Rules, blocks: int, last: bool = False) -> Race:
    first, known, racing, standings = first_look(len(recorded.arms)), Known(), recorded.names, list[Standing]()
    for block in range(1, blocks + 1):
        runs = recorded.until(block)
        finished = [arm for arm in racing if runs.arms[arm]]
        now = _standing(runs, finished, rules, block, block >= first, last and block == blocks)
        standings.append(now)
        if block >= first and finished:
            known.exits += [Exit(arm, block, "failed") for arm in racing if arm not in finished]
            known.add(now.pairs, finished)
            racing = leave(known, now, rules, block)
    return _race(_raced(recorded, known.exits, blocks), rules, racing, known, standings)


def _standing(runs: Recorded, arms: Sequence[str], rules: Rules, block: int, looks: bool, last: bool) -> Standing:
    pairs = all_pairs(runs, arms, block, rules.blocks, rules.both_ways, last) if looks else Differences({}, 0.0, 1)
    return Standing({arm: runs.score(arm) for arm in arms}, levels(runs, arms, rules.cost), pairs)


def _raced(recorded: Recorded, exits: Sequence[Exit], blocks: int) -> Recorded:
    """Returns the runs that belong to the race: of each arm until it has left."""
    left = {exit_.arm: exit_.block for exit_ in exits}
    last = {arm: left.get(arm, blocks) for arm in recorded.arms}
    arms = {arm: {b: run for b, run in runs.items() if b < last[arm]} for arm, runs in recorded.arms.items()}
    return replace(recorded, arms=arms)


def _race(recorded: Recorded, rules: Rules, racing: list[str], known: Known, standings: Sequence[Standing]) -> Race:
    looks = first_look(len(recorded.arms)) <= len(standings)
    now = standings[-1].among([arm for arm in racing if arm in standings[-1].scores])
    chosen = choice(known, now, rules) if now.scores else None
    rivals = [arm for arm in now.scores if arm != chosen] if looks else []
    questions = [question(now, arm, str(chosen), rules) for arm in rivals]
    race = Race(
        rules=rules,
        arms=recorded.names,
        looks=[_look(block, one, chosen) for block, one in enumerate(standings, start=1)],
        exits=known.exits,
        racing=racing,
        chosen=chosen,
        loss=known.loss(chosen, racing) if chosen and looks else None,
        end=None,
        needed=_blocks_needed(questions, rules, recorded, len(now.scores), len(standings)),
        texts=_texts_needed(questions, now.pairs),
        seconds=sum(run.seconds for run in recorded.runs),
        full_seconds=_full_seconds(recorded, rules.blocks),
        folds=recorded.folds,
        tuning={arm: scores(trials) for arm, trials in recorded.trials.items()},
        tuning_seconds=sum(run.seconds for run in recorded.tuning),
    )
    return replace(race, end=_end(race, recorded, looks))


def _full_seconds(recorded: Recorded, blocks: int) -> float:
    """Returns what so many blocks of all arms would take, with the encoding, which they share."""
    encoding = sum(run.encoding for runs in recorded.arms.values() for run in runs.values())
    return encoding + blocks * sum(recorded.seconds(arm) for arm in recorded.names if recorded.arms[arm])


def _look(block: int, now: Standing, chosen: str | None) -> Look:
    others = [arm for arm in now.scores if chosen in now.scores and arm != chosen]
    return Look(block, dict(now.scores), {arm: now.pairs.interval(str(chosen), arm) for arm in others})


def _blocks_needed(
    questions: Sequence[tuple[Estimate, float] | None], rules: Rules, recorded: Recorded, arms: int, now: int
) -> int | None:
    """Returns after how many blocks all questions are expected to be answered."""
    began = len(recorded.arms)
    first, bounds = first_look(began), comparisons(began, rules.both_ways)

    def answered(found: Estimate, target: float, blocks: int) -> bool:
        then = expected(found, blocks, arms, recorded.folds)
        alpha = alpha_at(min(blocks, rules.blocks), rules.blocks, first)
        return then is not None and then.half_width(1 - alpha, bounds, sides=1) <= target

    for blocks in range(now + 1, max(rules.blocks, MOST_SEEDS) + 1) if questions else ():
        if all(one and answered(*one, blocks) for one in questions):
            return blocks
    return None


def _texts_needed(questions: Sequence[tuple[Estimate, float] | None], pairs: Differences) -> int | None:
    """Returns with how many texts, and the blocks that there are, all questions are expected to be answered."""
    bounds = round(pairs.bounds * ALPHA / pairs.alpha) if questions else 1
    found = [
        units_needed(one[0].components, one[1], bounds, sides=1) if one and one[0].components else None
        for one in questions
    ]
    return None if None in found else max((count for count in found if count is not None), default=None)


def _end(race: Race, recorded: Recorded, looks: bool) -> End | None:
    """Returns why a race ends after its last look.

    Args:
        race: so far.
        recorded: its runs.
        looks: whether arms are compared yet.
    """
    blocks, rules = len(race.looks), race.rules
    if race.chosen is None:
        return "nothing finished"
    if looks and len(race.racing) == 1:
        return "one left"
    if rules.goal == "best" and race.loss is not None and race.loss <= rules.margin:
        return "as good as the best"
    if blocks == rules.blocks:
        return "blocks"
    more = min(rules.blocks - blocks, _affordable(race, recorded))
    if more < 1:
        return "budget"
    others = [arm for arm in race.racing if arm != race.chosen]
    compared = all(are_compared(recorded, [*race.looks[-1].scores], race.chosen, arm) for arm in others)
    return "hopeless" if looks and compared and (race.needed is None or race.needed > blocks + more) else None


def _affordable(race: Race, recorded: Recorded) -> int:
    """Returns for how many more blocks the budget is expected to suffice."""
    if race.rules.budget is None:
        return race.rules.blocks
    running = seconds_running(recorded.runs)
    block = sum(recorded.seconds(arm) for arm in race.racing if recorded.arms[arm])
    return math.floor((race.rules.budget - running) / (block * running / race.seconds))
