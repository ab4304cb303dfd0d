"""Verdicts on paired results, and the bootstrap over seeds and test examples."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from src.statistics.intervals import ALPHA, Interval

MIN_SEEDS = 6  # with fewer paired seeds no sign-flip test can reach ALPHA: 2 of 2**n sign patterns are as extreme


RESAMPLES = 10_000


Verdict = Literal["superior", "non-inferior", "inferior", "inconclusive"]


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
