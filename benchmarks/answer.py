"""How fast, and how rightly, a race comes to the decision of a full sweep.

python -m benchmarks.answer outputs/sweeps/NAME     # replays the runs of a full sweep, in many orders of its seeds
python -m benchmarks.answer --experiments 500       # races with a known truth; the tables of docs/racing.md
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.coverage import spread, table
from benchmarks.generator import REALISTIC, STRONG_SEEDS, Population, differences, equal
from src.arrays import NDArray
from src.grouping.groups import Group, group
from src.grouping.runs import read_runs
from src.race.costs import levels
from src.race.differences import all_pairs
from src.race.recorded import Ran, Recorded
from src.race.replay import Race, replay
from src.race.rules import Exit, Goal, Known, Rules, Standing, choice
from src.runs.identity import config_hash
from src.statistics.intervals import ALPHA
from src.statistics.sequential import alpha_at, comparisons, difference, first_look, seed_square
from src.sweeps.recorded import recorded

BLOCKS = 5


RULES = Rules(margin=0.01, goal="cheapest", blocks=BLOCKS)


COSTS = (100.0, 90.0, 75.0, 55.0, 110.0, 15.0)  # of six arms: none, embeddings, bottom_2, bottom, lora, all


TRIALS = {"all arms": (3,) * 6, "every second arm": (1, 3) * 3}  # settings of each arm


FIELDS = {  # the true accuracies of six arms
    "equal": equal(0.8, 6),
    "five at the margin": (0.8, *equal(0.79, 5)),
    "three at the margin": (*equal(0.8, 3), *equal(0.79, 3)),
    "one 5 points worse": (*equal(0.8, 5), 0.75),
    "typical": (0.8, 0.8, 0.795, 0.785, 0.78, 0.72),
    "one better": (0.8, 0.76, 0.76, 0.75, 0.75, 0.72),
}


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", nargs="?", type=Path, help="the folder of a full sweep")
    parser.add_argument("--experiments", type=int, default=200, help="of each cell")
    parser.add_argument("--orders", type=int, default=120, help="of the seeds, at most")
    parser.add_argument("--seeds", type=int, default=BLOCKS, help="that the race may use")
    chosen = parser.parse_args()
    if chosen.sweep:
        table(f"Races from the runs of {chosen.sweep.name}", replays(chosen.sweep, chosen.orders, chosen.seeds))
        return
    table(
        "Races in which a bound that claims may rest on misses",
        spendings(chosen.experiments),
    )
    table(f"Races of six arms with {BLOCKS} seeds at most, margin 0.01", races(chosen.experiments))
    table("The same after trials of three settings of an arm", tunings(chosen.experiments))


SPENDINGS: dict[str, Callable[[int, int], float]] = {
    "Pocock-like": lambda look, first: alpha_at(look, BLOCKS, first),
    "O'Brien-Fleming-like": lambda look, first: _fleming(look) - (_fleming(look - 1) if look > first else 0.0),
    "Bonferroni": lambda look, first: ALPHA / (BLOCKS - first + 1),
    "each look 5%": lambda look, first: ALPHA,
}


def _fleming(look: int) -> float:
    """Returns what an O'Brien-Fleming-like function has spent (Lan & DeMets 1983)."""
    from scipy import stats

    return 2 * float(stats.norm.sf(stats.norm.isf(ALPHA / 2) / math.sqrt(look / BLOCKS)))


def spendings(count: int) -> Iterator[Sequence[object]]:
    """Yields, by how the 5% are spent, how often a bound of some pair of equal arms misses at some look, and how often
    an arm that is 5 points worse is found to be worse at the first look."""
    yield "arms", "texts", *(f"{name}: {what}" for name in SPENDINGS for what in ("misses", "strong seeds", "finds"))
    for groups, texts in itertools.product((2, 3, 6), (200, 1_066)):
        cells: list[str] = []
        null = [missed(Population(equal(0.8, groups), *kind), texts, count) for kind in (*REALISTIC, STRONG_SEEDS)]
        worse = [found(Population((*equal(0.8, groups - 1), 0.75), *kind), texts, count) for kind in REALISTIC[2:]]
        for name in SPENDINGS:
            *usual, strong = (rates[name] for rates in null)
            cells += [spread(usual), spread([strong]), spread([rates[name] for rates in worse])]
        yield groups, texts, *cells


def missed(population: Population, texts: int, count: int) -> dict[str, float]:
    """Returns in which fraction of races of equal arms a bound of some pair misses at some look."""
    random, groups = np.random.default_rng(0), len(population.accuracy)
    first, times = first_look(groups), dict.fromkeys(SPENDINGS, 0)
    for _ in range(count):
        right, wrong = population.draw(BLOCKS, texts, random), dict.fromkeys(SPENDINGS, False)
        for look in range(first, BLOCKS + 1):
            p = smallest_p(right[:, :, :look])
            for name, spending in SPENDINGS.items():
                wrong[name] |= p < spending(look, first)
        for name in SPENDINGS:
            times[name] += wrong[name]
    return {name: number / count for name, number in times.items()}


def smallest_p(right: NDArray[np.bool_]) -> float:
    """Returns the smallest one-sided p of the pairs of one experiment, in both orders, corrected for all of them."""
    groups = right.shape[1]
    of_all, pairs = seed_square(right[0].mean(2), right.shape[-1]), itertools.combinations(range(groups), 2)
    estimates = [difference(differences(right, one, other)[0], of_all) for one, other in pairs]
    p = [estimate.p(sides=1) for estimate in estimates if estimate]
    return float(comparisons(groups, both_ways=True) * min(min(value, 1 - value) for value in p))


def found(population: Population, texts: int, count: int) -> dict[str, float]:
    """Returns how often the last arm is shown to be worse than the first one at the first look."""
    random, groups = np.random.default_rng(1), len(population.accuracy)
    first, bounds = first_look(groups), comparisons(groups, both_ways=True)
    p = []
    for _ in range(count):
        right = population.draw(first, texts, random)
        estimate = difference(differences(right, 0, -1)[0], seed_square(right[0].mean(2), texts))
        p.append(bounds * estimate.p(sides=1) if estimate else 1.0)
    return {name: float(np.mean(np.array(p) < spending(first, first))) for name, spending in SPENDINGS.items()}


def races(count: int) -> Iterator[Sequence[object]]:
    """Yields how often races claim what is not true, how often their choice, and that of all seeds, is at most the
    margin below the best, and how long they take."""
    yield "accuracies", "texts", "false claims", "strong seeds", "choice as good", "full sweep's", "settled", "time"
    for (name, accuracy), texts in itertools.product(FIELDS.items(), (400, 1_066, 5_000)):
        truth = {str(arm): value for arm, value in enumerate(accuracy)}
        usual = [drawn(Population(accuracy, *kind), texts, count) for kind in REALISTIC[2:]]
        strong = drawn(Population(accuracy, *STRONG_SEEDS), texts, count)
        every = [pair for pairs in usual for pair in pairs]
        least = max(accuracy) - RULES.margin - 1e-9
        yield (
            name,
            f"{texts:,}",
            spread([_share(_errs(race, truth) for race, _ in pairs) for pairs in usual]),
            spread([_share(_errs(race, truth) for race, _ in strong)]),
            spread([_share(truth[str(race.chosen)] >= least for race, _ in every)]),
            spread([_share(truth[full] >= least for _, full in every)]),
            spread([_share(race.settled for race, _ in every)]),
            f"{100 * np.median([race.seconds / race.full_seconds for race, _ in every]):.0f}%",
        )


def _errs(race: Race, truth: dict[str, float]) -> bool:
    """Whether a race has claimed anything that is not true."""
    below = max(truth.values()) - truth[str(race.chosen)]
    too_low = race.loss is not None and race.loss < below - 1e-9
    return too_low or any(is_wrong(one, truth, race.rules) for one in race.exits)


def _share(values: Iterator[bool]) -> float:
    return float(np.mean(list(values)))


def drawn(population: Population, texts: int, count: int) -> list[tuple[Race, str]]:
    """Returns races with a known truth, and what the scores of all seeds would have chosen."""
    random, made = np.random.default_rng(2), []
    for _ in range(count):
        runs = _runs(population.draw(BLOCKS, texts, random)[0])
        made.append((play(runs, RULES), chosen_by_all(runs, RULES)))
    return made


def tunings(count: int) -> Iterator[Sequence[object]]:
    """Yields how often races claim what is not true if arms race with the best of three settings, which are as good and
    as different as arms of their own: by which arms have three."""
    yield "accuracies", "texts", *(f"{name}: {what}" for name in TRIALS for what in ("false claims", "strong seeds"))
    for (name, accuracy), texts in itertools.product(FIELDS.items(), (400, 1_066)):
        cells: list[str] = []
        for settings in TRIALS.values():
            *usual, strong = (tuned(accuracy, settings, kind, texts, count) for kind in (*REALISTIC[2:], STRONG_SEEDS))
            cells += [spread(usual), spread([strong])]
        yield name, f"{texts:,}", *cells


def tuned(
    accuracy: Sequence[float], settings: Sequence[int], kind: tuple[float, float, float], texts: int, count: int
) -> float:
    """Returns in which fraction of races something is claimed that is not true of the settings that arms race with.

    Args:
        accuracy: of all settings of each arm.
        settings: how many each arm has; the best with a seed of its own is chosen.
        kind: how settings and seeds differ, as in `Population`.
        texts: for validation, by the trials and by the race.
        count: of races.
    """
    random, first = np.random.default_rng(3), np.cumsum([0, *settings])
    population = Population(tuple(np.repeat(accuracy, settings).tolist()), *kind)
    truth, wrong = {str(arm): value for arm, value in enumerate(accuracy)}, 0
    for _ in range(count):
        right = population.draw(BLOCKS + 1, texts, random)[0]
        chosen = [low + int(right[low:high, 0].mean(1).argmax()) for low, high in itertools.pairwise(first)]
        wrong += _errs(play(_runs(right[chosen, 1:]), RULES), truth)
    return wrong / count


def _runs(right: NDArray[np.bool_]) -> Recorded:
    """Returns runs that are right on texts, given as arms x seeds x texts."""
    scores = right.astype(np.float64)
    return Recorded(
        {
            str(arm): {block: Ran(scores[arm, block], cost, cost, 0.0) for block in range(BLOCKS)}
            for arm, cost in enumerate(COSTS)
        }
    )


def play(runs: Recorded, rules: Rules) -> Race:
    """Returns the race at its end, or where there are no more runs."""
    recorded = max(len(own) for own in runs.arms.values())
    made = (replay(runs, rules, block) for block in range(1, recorded + 1))
    return next(race for race in made if race.end or len(race.looks) == recorded)


def chosen_by_all(runs: Recorded, rules: Rules) -> str:
    """Returns the arm to choose by all runs."""
    scores, costs = {name: runs.score(name) for name in runs.names}, levels(runs, runs.names, rules.cost)
    pairs = all_pairs(runs, runs.names, rules.blocks, rules.blocks, rules.both_ways)
    return choice(Known(), Standing(scores, costs, pairs), rules)


def is_wrong(left: Exit, truth: dict[str, float], rules: Rules) -> bool:
    """Whether an arm has left for a reason that is not true."""
    if left.other is None:
        return False
    above = truth[left.arm] - truth[left.other]
    if left.reason == "dearer":
        return above > rules.margin + 1e-9
    return above >= (-rules.margin if rules.goal == "cheapest" else 0.0) - 1e-9


def replays(folder: Path, orders: int, blocks: int) -> Iterator[Sequence[object]]:
    """Yields what races would have come to, had the seeds come in another order.

    Args:
        folder: with the runs of a full sweep.
        orders: how many to try at most.
        blocks: the number of seeds that are planned; the time is relative to that.
    """
    yield "margin", "goal", "orders", "contradicted", "same choice", "regret, points", "full sweep's", "seeds", "time"
    groups = group(read_runs(folder))
    arms = {one.name: [config_hash(run.folder.saved_config()) for run in one.finished] for one in groups}
    runs, test = recorded(arms, "accuracy", "time", folder), {one.name: _test(one) for one in groups}
    every = list(itertools.islice(itertools.permutations(range(max(map(len, arms.values())))), 50_000))
    picked = [every[number] for number in np.random.default_rng(0).permutation(len(every))[:orders]]
    truth, goals = {name: runs.score(name) for name in runs.names}, get_args(Goal)
    for margin, goal in itertools.product((0.005, 0.01, 0.02, 0.03), goals):
        rules = Rules(margin, goal, max(blocks, len(every[0])))
        made, by_all = [play(_reordered(runs, order), rules) for order in picked], chosen_by_all(runs, rules)
        regrets = [100 * (max(test.values()) - test[name]) for name in (by_all, *(str(race.chosen) for race in made))]
        yield (
            margin,
            goal,
            len(made),
            spread([_share(_errs(race, truth) for race in made)]),
            spread([_share(race.chosen == by_all for race in made)]),
            f"{np.mean(regrets[1:]):.2f} (at most {max(regrets[1:]):.2f})",
            f"{regrets[0]:.2f}",
            f"{np.mean([len(race.looks) for race in made]):.1f}",
            f"{100 * np.median([race.seconds / race.full_seconds for race in made]):.0f}%",
        )


def _test(one: Group) -> float:
    return float(np.mean([run.result["metrics"]["test"]["accuracy"] for run in one.finished if run.result]))


def _reordered(runs: Recorded, order: Sequence[int]) -> Recorded:
    """Returns the same runs with their blocks in another order."""
    place = {block: number for number, block in enumerate(order)}
    return Recorded({arm: {place[b]: run for b, run in own.items()} for arm, own in runs.arms.items()}, runs.folds)


if __name__ == "__main__":
    main()
