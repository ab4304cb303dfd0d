"""How often the intervals and claims of a comparison are right, in experiments with a known truth; prints the tables of
docs/comparing.md."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.linear_model import RidgeCV

from benchmarks.cross_validated import experiment, two_layers
from benchmarks.generator import REALISTIC, STRONG_SEEDS, Population, differences, equal
from src.advice.probes import estimate, metrics_of, probe
from src.arrays import NDArray
from src.data.labels import LabelSpace
from src.statistics import number_influence
from src.statistics.best import AllPairs
from src.statistics.crossed import crossed
from src.statistics.estimate import Estimate
from src.statistics.influence import contributions
from src.statistics.intervals import Interval, mean_interval
from src.statistics.resampled import resampled

TEXTS, SEEDS = (96, 400, 1_066, 3_000), (2, 3, 6)


SCORES = ("accuracy", "f1_macro", "mcc", "auroc", "average_precision")


ERRORS = {"mae": math.sqrt(2 / math.pi), "rmse": 1.0}  # of standard normal ones


TITLES = ("this probe on new texts", "such probes on new texts", "labels at random", "difference", "of macro F1")
FRESH = 5_000  # texts that say how good a probe is on new ones
SPACE = LabelSpace("binary", ("no", "yes"))
CHUNK = 2_000_000  # most predictions drawn at once


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1_000, help="of each cell")
    count = parser.parse_args().experiments
    table("Intervals of a difference of 0", null(count))
    table("A mean accuracy near 1", near_one(count // 2))
    table("Other scores, from the influence of each text", other_scores(count // 2))
    table("Errors of predicted numbers, likewise", of_errors(count // 2))
    table("How often a difference is found", power(count // 2))
    table("The best of several groups, one of them worse, 1,066 texts", of_best(count // 2))
    table("5-fold cross-validation of equally good strategies", folds(count // 2))
    table("Leave-one-out scores of probes on two equally good layers", of_probes(count // 4))
    table("The same, of numbers", of_numbers(count // 4))


def table(title: str, rows: Iterator[Sequence[object]]) -> None:
    """Prints a Markdown table; the first row is its head."""
    print(f"\n{title}\n", flush=True)
    for number, row in enumerate(rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
        if number == 0:
            print("| " + " | ".join("---:" for _ in row) + " |")


def tables(population: Population, seeds: int, texts: int, count: int) -> Iterator[NDArray[np.float64]]:
    """Yields the table of seeds by texts of each experiment: the first strategy minus the last one."""
    random, chunk = np.random.default_rng(0), max(1, CHUNK // (len(population.accuracy) * seeds * texts))
    for begin in range(0, count, chunk):
        yield from differences(population.draw(seeds, texts, random, min(chunk, count - begin)), 0, -1)


def bounds(found: Estimate | Interval | None) -> tuple[float, float]:
    """Returns the interval; without one nothing is claimed."""
    interval = found.interval() if isinstance(found, Estimate) else found
    return (interval.low, interval.high) if interval else (-np.inf, np.inf)


def null(count: int) -> Iterator[Sequence[object]]:
    """Yields coverage and false claims where strategies are equally good, over all kinds of experiments."""
    yield "texts", "seeds", "seeds' t interval covers", "false claims", "crossed covers", "false claims", "strong seeds"
    for texts, seeds in itertools.product(TEXTS, SEEDS):
        of_seeds, of_both = zip(*(covered(kind, seeds, texts, count) for kind in REALISTIC), strict=True)
        cells = [text for found in (of_seeds, of_both) for text in (spread(found), spread([1 - x for x in found]))]
        yield texts, seeds, *cells, spread([covered(STRONG_SEEDS, seeds, texts, count)[1]])


def covered(kind: tuple[float, float, float], seeds: int, texts: int, count: int) -> tuple[float, float]:
    """Returns how often 0 is in the seeds' t interval and in the crossed interval."""
    drawn = list(tables(Population(equal(0.8, 2), *kind), seeds, texts, count))

    def holds(low: float, high: float) -> bool:
        return low <= 0 <= high

    return share(drawn, lambda table: mean_interval(table.mean(1)), holds), share(drawn, crossed, holds)


def near_one(count: int) -> Iterator[Sequence[object]]:
    """Yields how often the interval of a mean accuracy holds it where few texts are wrong, and how often there is none,
    since no run is wrong."""
    kinds = {0.9: (0.06, 0.03, 0.003), 0.95: (0.04, 0.02, 0.002), 0.98: (0.02, 0.01, 0.002), 0.99: (0.01, 0.006, 0.001)}
    yield "texts", "seeds", *(name for accuracy in kinds for name in (f"{accuracy} is held", "n/a"))
    for texts, seeds in itertools.product((96, 400, 1_066), (3, 6)):
        cells: list[str] = []
        for accuracy, kind in kinds.items():
            right = Population((accuracy,), *kind).draw(seeds, texts, np.random.default_rng(0), count)[:, 0]
            found = [one for table in right if (one := crossed(table.astype(np.float64)))]
            held = [one.interval().low <= accuracy <= one.interval().high for one in found]
            cells += [f"{100 * np.mean(held):.0f}%", f"{100 * (1 - len(found) / count):.0f}%"]
        yield texts, seeds, *cells


def share(
    drawn: Sequence[NDArray[np.float64]],
    interval: Callable[[NDArray[np.float64]], Estimate | Interval | None],
    holds: Callable[[float, float], bool],
) -> float:
    """Returns in which fraction of experiments something holds of the bounds of the interval."""
    return float(np.mean([holds(*bounds(interval(one))) for one in drawn]))


def of_probes(count: int) -> Iterator[Sequence[object]]:
    """Yields how often the intervals of probes hold the true value."""
    yield "texts", "features", *TITLES
    for texts, features in itertools.product((100, 300, 1_000), (20, 200)):
        random = np.random.default_rng(0)
        drawn = [probed(texts, features, random) for _ in range(count)]
        mean = float(np.mean([fresh for _, fresh in drawn]))
        cells = []
        for title in TITLES:
            held = [
                found[title][0] <= truth(title, fresh, mean) <= found[title][1]
                for found, fresh in drawn
                if title in found
            ]
            cells.append(f"{100 * np.mean(held):.0f}%" if held else "")
        yield texts, features, *cells


def truth(title: str, fresh: float, mean: float) -> float:
    """Returns what an interval should hold."""
    return {TITLES[0]: fresh, TITLES[1]: mean, TITLES[2]: 0.5}.get(title, 0.0)


def probed(texts: int, features: int, random: np.random.Generator) -> tuple[dict[str, tuple[float, float]], float]:
    """Returns the intervals of one experiment, in which two layers each see half of what a label depends on; and the
    accuracy of the first probe on new texts."""
    halves, labels = two_layers(texts + FRESH, features, random)
    one, other = (probe("", 1, half[:texts], labels[:texts], SPACE) for half in halves)
    fitted = RidgeCV(np.logspace(-3, 3, 13) * texts).fit(halves[0][:texts], labels[:texts])
    right = (fitted.predict(halves[0][texts:]) > 0.5) == labels[texts:]
    anyhow = probe("", 1, halves[0][:texts], random.integers(0, 2, texts), SPACE)
    own = bounds(estimate(one.contributions["accuracy"]))
    found = {TITLES[0]: own, TITLES[1]: own, TITLES[2]: bounds(estimate(anyhow.contributions["accuracy"]))}
    for title, metric in zip(TITLES[3:], metrics_of(SPACE), strict=True):
        if metric in one.contributions:
            found[title] = bounds(estimate(one.contributions[metric] - other.contributions[metric]))
    return found, float(right.mean())


def of_numbers(count: int) -> Iterator[Sequence[object]]:
    """Yields how often the intervals of the correlations of two layers' probes with numbers hold the true values."""
    yield "texts", "features", *TITLES[:4], "difference of R²"
    for texts, features in itertools.product((100, 300, 1_000), (20, 200)):
        random = np.random.default_rng(0)
        drawn = [_numbers(texts, features, random) for _ in range(count)]
        means = np.mean([fresh for _, fresh in drawn])
        truths = [[fresh, means, 0.0, 0.0, 0.0] for _, fresh in drawn]
        held = [
            [low <= true <= high for (low, high), true in zip(limits, known, strict=True)]
            for (limits, _), known in zip(drawn, truths, strict=True)
        ]
        yield texts, features, *(f"{100 * share:.0f}%" for share in np.mean(held, axis=0))


def _numbers(texts: int, features: int, random: np.random.Generator) -> tuple[list[tuple[float, float]], float]:
    """Returns the intervals of one experiment, in which a number depends on two layers alike, and the correlation of
    the first layer's probe with the numbers of new texts."""
    layers = random.normal(size=(2, texts + FRESH, features))
    signal = sum(layer @ np.full(features, features**-0.5) for layer in layers)
    numbers = signal + random.normal(size=texts + FRESH)
    space = LabelSpace("regression", ("score",), mean=(0.0,), std=(1.0,))
    one, other = (probe("", 1, layer[:texts], numbers[:texts, None], space).contributions for layer in layers)
    anyhow = probe("", 1, layers[0][:texts], random.normal(size=(texts, 1)), space).contributions["pearson"]
    fitted = RidgeCV(np.logspace(-3, 3, 13) * texts).fit(layers[0][:texts], numbers[:texts])
    fresh = float(np.corrcoef(fitted.predict(layers[0][texts:]), numbers[texts:])[0, 1])
    own = bounds(estimate(one["pearson"]))
    differences = [bounds(estimate(one[name] - other[name])) for name in ("pearson", "r2")]
    return [own, own, bounds(estimate(anyhow)), *differences], fresh


def spread(shares: Sequence[float]) -> str:
    """Returns the smallest and the largest of several fractions."""
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    return f"{low}%" if low == high else f"{low} to {high}%"


def other_scores(count: int) -> Iterator[Sequence[object]]:
    """Yields the coverage of intervals of other scores, with three seeds, three in ten texts positive."""
    yield "texts", "seeds", *SCORES
    for texts, seeds in itertools.product((96, 400, 1_066), (3, 6)):
        held: dict[str, list[float]] = {name: [] for name in SCORES}
        for kind in REALISTIC[1:]:
            random, population = np.random.default_rng(1), Population(equal(0.8, 2), *kind)
            found = [scored(population, seeds, texts, random) for _ in range(count // 4)]
            for name in SCORES:
                limits = [bounds(crossed(one[name])) for one in found]
                held[name].append(float(np.mean([low <= 0 <= high for low, high in limits])))
        yield texts, seeds, *(f"{100 * np.mean(held[name]):.1f}%" for name in SCORES)


def of_errors(count: int) -> Iterator[Sequence[object]]:
    """Yields the coverage of intervals of mean errors and of their differences, where errors are normal with variance 1
    and strategies are equally good."""
    yield "texts", "seeds", *(f"{what} {name}" for name in ERRORS for what in ("difference of", "mean"))
    for texts, seeds in itertools.product((96, 400, 1_066), (3, 6)):
        held: list[list[bool]] = []
        for kind in REALISTIC[1:]:
            random, population = np.random.default_rng(1), Population(equal(0.5, 2), *kind)
            for _ in range(count // 4):
                errors = population.margins(seeds, texts, random)[0].astype(np.float64)
                held.append([holds for name, true in ERRORS.items() for holds in _held(name, true, errors)])
        yield texts, seeds, *(f"{100 * share:.1f}%" for share in np.mean(held, axis=0))


def _held(name: str, true: float, errors: NDArray[np.float64]) -> tuple[bool, bool]:
    """Returns whether the intervals of a difference, and of a mean, hold the true values.

    Args:
        name: of the score.
        true: its true value.
        errors: [strategies, seeds, texts].
    """
    zero = np.zeros((errors.shape[2], 1))
    found = [[number_influence.contributions(name, e[:, None], zero) for e in of_one] for of_one in errors]
    one, other = np.array(found)
    (low, high), (least, most) = bounds(crossed(one - other)), bounds(crossed(one))
    return low <= 0 <= high, least <= true <= most


def scored(
    population: Population, seeds: int, texts: int, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Returns the differences of contributions to each score in one experiment with two labels."""
    targets = (random.random(texts) < 0.3).astype(np.int64)
    positive = 1 / (1 + np.exp(-2.0 * population.margins(seeds, texts, random)[0] * (2 * targets - 1)))
    pairs = list(zip(*np.stack([1 - positive, positive], -1), strict=True))
    return {
        name: np.array([_contributed(name, one, targets) - _contributed(name, two, targets) for one, two in pairs])
        for name in SCORES
    }


def _contributed(name: str, probs: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    found = contributions(name, probs, targets, probs.argmax(1), "binary")
    if found is None:
        raise ValueError(f"{name} must exist for these texts; all of them have the same label")
    return found


def power(count: int) -> Iterator[Sequence[object]]:
    """Yields how often the crossed interval excludes 0 if one strategy is 3, 5 or 8 points better."""
    yield "texts", "seeds", "3 points", "5 points", "8 points"
    for texts, seeds in itertools.product(TEXTS, SEEDS):
        cells = []
        for points in (0.03, 0.05, 0.08):
            kinds = [Population((0.8, 0.8 - points), *kind) for kind in REALISTIC[2:]]
            drawn = [list(tables(population, seeds, texts, count)) for population in kinds]
            cells.append(spread([share(one, crossed, lambda low, _: low > 0) for one in drawn]))
        yield texts, seeds, *cells


def of_best(count: int) -> Iterator[Sequence[object]]:
    """Yields how often the set has the best group and no loss is larger than said, and how often a worse group is
    excluded."""
    yield "groups", "seeds", "equal: hold", "strong seeds", "5 points: hold", "excluded", "8 points: hold", "excluded"
    for groups, seeds in itertools.product((2, 3, 6), SEEDS):
        cells: list[str] = []
        for points in (0.0, 0.05, 0.08):
            accuracy = (*equal(0.8, groups - 1), 0.8 - points)
            found = [claims(Population(accuracy, *kind), seeds, count) for kind in REALISTIC[2:]]
            cells.append(spread([held for held, _ in found]))
            if points:
                cells.append(spread([excluded for _, excluded in found]))
            else:
                cells.append(spread([claims(Population(accuracy, *STRONG_SEEDS), seeds, count)[0]]))
        yield groups, seeds, *cells


def claims(population: Population, seeds: int, count: int) -> tuple[float, float]:
    """Returns how often all claims of the best group hold, and how often the last group is excluded."""
    random, accuracy = np.random.default_rng(2), population.accuracy
    names, losses = [str(i) for i in range(len(accuracy))], max(accuracy) - np.array(accuracy)
    held, excluded = 0, 0
    for _ in range(count):
        right = population.draw(seeds, 1_066, random)
        pairs = itertools.combinations(names, 2)
        found = AllPairs(names, {(a, b): crossed(differences(right, int(a), int(b))[0]) for a, b in pairs}).best(names)
        bounded = [(found.loss[name], loss) for name, loss in zip(names, losses, strict=True)]
        equal_to_best = {name for name, loss in zip(names, losses, strict=True) if loss == 0}
        held += equal_to_best <= {*found.candidates} and all(
            most is None or most >= loss - 1e-9 for most, loss in bounded
        )
        excluded += names[-1] not in found.candidates
    return held / count, excluded / count


def folds(count: int) -> Iterator[Sequence[object]]:
    """Yields coverage and mean half-width of the crossed interval, over repeats and texts, and of the corrected
    resampled t, over all runs; and the coverage of the latter for the mean score of one strategy."""
    covers = ("crossed covers", "half-width", "corrected resampled t covers", "half-width", "of a mean score")
    yield "texts", "repeats", *covers
    for texts, repeats in itertools.product((96, 300, 960), (1, 3)):
        random, by_features = np.random.default_rng(3), (5, 40)
        drawn = {f: [experiment(texts, 5, repeats, f, random) for _ in range(count // 2)] for f in by_features}
        every = [found for some in drawn.values() for found in some]
        cells: list[str] = []
        for estimates in ([crossed(table) for table, *_ in every], [resampled(runs, 5) for _, runs, _ in every]):
            known = [found for found in estimates if found is not None]
            held = [found.interval().low <= 0 <= found.interval().high for found in known]
            cells += [f"{100 * np.mean(held):.0f}%", f"{np.mean([found.half_width() for found in known]):.3f}"]
        means = [share for some in drawn.values() for share in _mean_held([scores for *_, scores in some])]
        yield texts, repeats, *cells, f"{100 * np.mean(means):.0f}%"


def _mean_held(drawn: Sequence[NDArray[np.float64]]) -> Iterator[bool]:
    """Yields whether the interval of each experiment's mean score holds the mean over all experiments."""
    truth = np.mean(drawn)
    for scores in drawn:
        if (found := resampled(scores, 5)) is not None:
            yield bool(found.interval().low <= truth <= found.interval().high)


if __name__ == "__main__":
    main()
