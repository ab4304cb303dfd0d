"""Confidence intervals, significance tests and verdicts for paired results, computed with scipy."""

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


MIN_SEEDS = 6  # with fewer paired seeds no sign-flip test can reach ALPHA: 2 of 2**n sign patterns are as extreme


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
    """Returns the mean with Student's t interval; None for a single value or values without spread."""
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return Interval(float(values.mean()), float(low), float(high))


def paired_interval(one: Values, other: Values) -> Interval | None:
    """Returns the mean difference of results paired by seed, with its t interval."""
    return mean_interval(one - other)


def ratio_interval(one: Values, other: Values) -> Interval | None:
    """Returns the ratio of the geometric means of positive results paired by seed, such as costs, with its interval."""
    found = mean_interval(np.log(one) - np.log(other))
    return found and Interval(*(math.exp(x) for x in (found.value, found.low, found.high)))


def sign_flip_p(differences: Values) -> float:
    """Returns the two-sided p of the exact sign-flip permutation test: the fraction of all 2**n sign patterns whose
    mean is at least as far from 0 (Fisher 1935). Above 13 differences, 10,000 random sign patterns are used."""
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES if len(differences) > 13 else np.inf,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm-corrected p values, which bound the probability of any false claim by alpha (Holm 1979)."""
    count, adjusted, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def verdict(difference: Interval | None, margin: float, p: float | None) -> Verdict:
    """Returns the verdict on a difference to the baseline, where higher is better (Piaggio et al. 2012).

    Args:
        difference: None gives `inconclusive`.
        margin: how much lower is still as good, chosen before the experiment.
        p: Holm-corrected p of the sign-flip test. `superior` requires at most alpha, since with many equally good
            strategies some interval often lies above 0 by chance.
    """
    if difference is None:
        return "inconclusive"
    if difference.low > 0 and p is not None and p <= ALPHA:
        return "superior"
    if difference.low > -margin:
        return "non-inferior"
    return "inferior" if difference.high < -margin else "inconclusive"


def seeds_needed(comparisons: int) -> int:
    """Returns the number of seeds from which Holm-corrected sign-flip tests of so many comparisons can reach alpha."""
    return max(MIN_SEEDS, math.ceil(math.log2(2 * comparisons / ALPHA)))


def wins(one: Values, other: Values) -> Values:
    """Returns for each seed 1 if the first is higher, 0 if it is lower, and 0.5 if they are equal."""
    return np.where(one == other, 0.5, one > other)


def win_rate_interval(wins: Values) -> Interval | None:
    """Returns the win rate with its percentile bootstrap interval (Bouthillier et al. 2021); None if all seeds agree,
    since resampling them changes nothing."""
    if len(wins) == 0 or np.ptp(wins) == 0:
        return None
    drawn = np.random.default_rng(0).integers(len(wins), size=(RESAMPLES, len(wins)))
    low, high = np.quantile(wins[drawn].mean(1), [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(wins.mean()), float(low), float(high))


def wilson(hits: int, count: int) -> Interval:
    """Returns a proportion with its score interval (Wilson 1927)."""
    found = stats.binomtest(hits, count).proportion_ci(LEVEL, method="wilson")
    return Interval(hits / count, float(found.low), float(found.high))


def mcnemar_p(one: Bool[NDArray[np.bool_], " examples"], other: Bool[NDArray[np.bool_], " examples"]) -> float:
    """Returns the two-sided p of the exact test on the examples that only one of two models predicts correctly (McNemar
    1947)."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if not only_one + only_other:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def bootstrap_difference(
    one: Bool[NDArray[np.bool_], "seeds examples"], other: Bool[NDArray[np.bool_], "seeds examples"]
) -> Interval | None:
    """Returns the difference of accuracies with a 95% bootstrap interval over seeds and test examples. Seeds are
    resampled first, then examples, the same ones for both models and all seeds. None for a single seed, or if both
    models predict the same examples correctly."""
    gain = one.astype(np.float64) - other
    if len(gain) < 2 or np.ptp(gain) == 0:
        return None
    random = np.random.default_rng(0)
    seeds, examples = gain.shape
    found = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        chosen = np.bincount(random.integers(seeds, size=seeds), minlength=seeds)
        weights = np.bincount(random.integers(examples, size=examples), minlength=examples)
        found[draw] = chosen @ gain @ weights
    low, high = np.quantile(found / gain.size, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(gain.mean()), float(low), float(high))
