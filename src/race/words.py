"""A race in words: who has left and why, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping

from src.config.monitor import at_most, shown, worse_side
from src.config.wording import counted, duration, rounded
from src.race.replay import Race
from src.race.rules import Exit
from src.race.tuning import best
from src.statistics.intervals import Interval


def course(race: Race) -> str:
    """Returns what the last block has changed, for the terminal; after the first one also the learning rates."""
    block = len(race.looks)
    left = [exit_ for exit_ in race.exits if exit_.block == block]
    rates = f"{tuned(race)}\n\n" if block == 1 and race.tuning else ""
    said = [f"{rates}Race, {block} of {_blocks(race, race.rules.blocks)}:"]
    said += [f"out: {_left(one, race)};" for one in left]
    if race.end:
        return " ".join([*said, f"it ends, since {ended(race)}."])
    return " ".join([*said, f"in the race: {', '.join(race.racing)}."])


def answer(race: Race, described: str, score: str, metric: str) -> str:
    """Returns what a race answers.

    Args:
        race: that has ended with a chosen arm.
        described: the chosen arm, with what it trains.
        score: its test score with the interval.
        metric: the name of the score.
    """
    side = worse_side(race.rules.metric)
    loss = "" if race.loss is None else f", at most {at_most(race.loss, race.rules.metric)} {side} the best"
    after = f"after {len(race.looks)} of {_blocks(race, race.rules.blocks)}"
    if race.settled:
        found = "the best" if race.rules.goal == "best" else "the cheapest of those that are as good as the best"
        said = [
            f"Choose {described}: test {metric} {score}.",
            f"In validation {metric} it is {found}{loss}: {after} {ended(race)}.",
        ]
    else:
        below = loss.removeprefix(", ") or f"how far {side} the best is not known"
        said = [
            f"Not settled in validation {metric} {after}: {ended(race)}.",
            f"Until it is, choose {described}: test {metric} {score}; in validation {below}.",
            f"In the race: {', '.join(race.racing)}.",
        ]
    if race.exits:
        said.append(f"Out: {'; '.join(_left(exit_, race) for exit_ in race.exits)}.")
    said.append("All of this holds with 95% confidence.")
    return " ".join([*said, *([tuned(race)] if race.tuning else []), _spent(race)])


def tuned(race: Race) -> str:
    """Returns which learning rates the arms race with, and how they were chosen, as a sentence."""
    return (
        "Learning rates, each the best of its trials, which have a seed of their own and are no evidence: "
        f"{', '.join(_chosen(arm, scores) for arm, scores in race.tuning.items())}."
    )


def _chosen(arm: str, scores: Mapping[str, float | None]) -> str:
    failed = sum(score is None for score in scores.values())
    of = f"of {len(scores)}, {failed} failed" if failed else f"of {len(scores)}"
    return f"{arm} {best(scores) or 'none'} ({of})"


def ended(race: Race) -> str:
    """Returns why a race has ended, as part of a sentence."""
    if race.end == "one left":
        return "no other arm is left"
    if race.end == "as good as the best":
        return f"it is shown to be at most {_margin(race)} {worse_side(race.rules.metric)} the best"
    if race.end == "blocks":
        return "the race is over"
    if race.end == "budget":
        return f"the budget of {duration(race.rules.budget or 0)} is not enough for another block"
    if race.end == "nothing finished":
        return "no run has finished"
    if race.needed is not None:
        return f"it is expected to take {_blocks(race, race.needed)}"
    if race.texts is not None:
        return f"more of them will not settle it, about {rounded(race.texts)} validation texts would"
    return "more of them will not settle it"


def _left(one: Exit, race: Race) -> str:
    after = f"after {_blocks(race, one.block)}"
    if one.reason == "failed":
        return f"{one.arm} {after}, none of its runs has a score"
    if one.reason == "worse":
        return f"{one.arm} {after}, {_bounded(one.difference, race)} {one.other}"
    return f"{one.arm} {after}, no cheaper than {one.other} and at most {_margin(race)} better"


def _margin(race: Race) -> str:
    return f"{float(f'{race.rules.margin:.3g}'):g}"


def _bounded(difference: Interval | None, race: Race) -> str:
    assert difference is not None
    return f"{bounded(difference, race.rules.metric)} {worse_side(race.rules.metric)}"


def bounded(found: Interval, metric: str) -> str:
    """Returns a score or a difference of two with its interval, as text."""
    value, low, high = (shown(number, metric) for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _blocks(race: Race, count: int) -> str:
    return counted(count, "fold" if race.folds > 1 else "seed")


def _spent(race: Race) -> str:
    runs, share = len(race.arms) * race.rules.blocks, race.seconds / race.full_seconds
    full = duration(race.full_seconds)
    trials = f"; {duration(race.tuning_seconds)} of it went to trials of learning rates" if race.tuning else ""
    spent = f"The runs took {duration(race.seconds)}, {share:.0%} of the {full} that all {runs} of them would take"
    return f"{spent}{trials}."
