"""What a comparison of runs can claim: intervals, tests and verdicts for paired results. scipy does the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95  # of all intervals


ALPHA = 1 - LEVEL


FEWEST = 6  # paired seeds below which no sign-flip test can reach ALPHA: 2 of 2**n sign patterns are as extreme


RESAMPLES = 10_000


Values = Float[NDArray[np.float64], " seeds"]


Verdict = Literal["superior", "non-inferior", "inferior", "inconclusive"]


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that holds the true value in 95 of 100 such experiments."""

    value: float
    low: float
    high: float


def mean_interval(values: Values) -> Interval | None:
    """The mean with Student's t interval; None where it has no meaning: a single value, or values without spread."""
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return Interval(float(values.mean()), float(low), float(high))


def paired_interval(one: Values, other: Values) -> Interval | None:
    """The mean difference of results paired by seed, with its t interval."""
    return mean_interval(one - other)


def ratio_interval(one: Values, other: Values) -> Interval | None:
    """The ratio of the geometric means of positive results paired by seed, such as costs, with its interval."""
    found = mean_interval(np.log(one) - np.log(other))
    return found and Interval(*(math.exp(x) for x in (found.value, found.low, found.high)))


def sign_flip_p(differences: Values) -> float:
    """The two-sided p of the exact sign-flip permutation test: how many of all 2**n ways to choose the signs have a
    mean that lies as far from 0 (Fisher 1935). Above 13 differences, of 10,000 random ways."""
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES if len(differences) > 13 else np.inf,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for being several, so that the chance of any false claim stays at alpha (Holm 1979)."""
    count, adjusted, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def verdict(difference: Interval | None, margin: float, p: float | None) -> Verdict:
    """What an interval of the difference to the baseline says, where more is better (Piaggio et al. 2012).

    Args:
        difference: None gives `inconclusive`.
        margin: how much worse is still as good, set before the experiment.
        p: of there being no difference, adjusted for the number of comparisons. `superior` needs at most alpha: of many
            strategies that are equally good, the interval of one or other often lies above 0.
    """
    if difference is None:
        return "inconclusive"
    if difference.low > 0 and p is not None and p <= ALPHA:
        return "superior"
    if difference.low > -margin:
        return "non-inferior"
    return "inferior" if difference.high < -margin else "inconclusive"


def seeds_needed(comparisons: int) -> int:
    """With how many seeds the sign-flip test of as many comparisons, by Holm, can reach alpha at all."""
    return max(FEWEST, math.ceil(math.log2(2 * comparisons / ALPHA)))


def wins(one: Values, other: Values) -> Values:
    """By seed, 1 where one is better than the other, 0 where it is worse, and a half where they are equal."""
    return np.where(one == other, 0.5, one > other)


def share_interval(wins: Values) -> Interval | None:
    """How often one is better, with a percentile bootstrap interval (Bouthillier et al. 2021); None where all seeds say
    the same, which drawing them anew cannot change."""
    if len(wins) == 0 or np.ptp(wins) == 0:
        return None
    drawn = np.random.default_rng(0).integers(len(wins), size=(RESAMPLES, len(wins)))
    low, high = np.quantile(wins[drawn].mean(1), [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(wins.mean()), float(low), float(high))


def wilson(hits: int, count: int) -> Interval:
    """A share with its score interval (Wilson 1927)."""
    found = stats.binomtest(hits, count).proportion_ci(LEVEL, method="wilson")
    return Interval(hits / count, float(found.low), float(found.high))


def mcnemar_p(one: Bool[NDArray[np.bool_], " rows"], other: Bool[NDArray[np.bool_], " rows"]) -> float:
    """The two-sided p of the exact test on the rows that only one of two models has right (McNemar 1947)."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if not only_one + only_other:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def bootstrap_difference(
    one: Bool[NDArray[np.bool_], "seeds rows"], other: Bool[NDArray[np.bool_], "seeds rows"]
) -> Interval | None:
    """The difference of accuracies with an interval that counts both sources of chance: seeds, and which rows happened
    to be in the test set. Seeds are drawn first, then rows, the same for both models and all seeds. None for a single
    seed, or models that have the same rows right."""
    gain = one.astype(np.float64) - other
    if len(gain) < 2 or np.ptp(gain) == 0:
        return None
    random = np.random.default_rng(0)
    seeds, rows = gain.shape
    found = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        chosen = np.bincount(random.integers(seeds, size=seeds), minlength=seeds)
        weights = np.bincount(random.integers(rows, size=rows), minlength=rows)
        found[draw] = chosen @ gain @ weights
    low, high = np.quantile(found / gain.size, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(gain.mean()), float(low), float(high))
