"""Confidence intervals of means, ratios and proportions of independent values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from src.arrays import NDArray

LEVEL = 0.95  # of all intervals


ALPHA = 1 - LEVEL


Values = Float[NDArray[np.float64], " seeds"]


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that holds the true value in 95 of 100 such experiments."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """Returns the interval of so many times the value."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Interval(factor * self.value, low, high)


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


def wilson(hits: int, count: int) -> Interval:
    """Returns a proportion with its score interval (Wilson 1927)."""
    found = stats.binomtest(hits, count).proportion_ci(LEVEL, method="wilson")
    return Interval(hits / count, float(found.low), float(found.high))
