"""Significance tests of paired results, and the win rate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import stats

from src.arrays import NDArray
from src.statistics.intervals import ALPHA, Interval, Values

RESAMPLES = 10_000


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


def mcnemar_p(one: Bool[NDArray[np.bool_], " examples"], other: Bool[NDArray[np.bool_], " examples"]) -> float:
    """Returns the two-sided p of the exact test on the examples that only one of two models predicts correctly (McNemar
    1947)."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if not only_one + only_other:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)
