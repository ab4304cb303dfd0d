"""Each interval against a reference: a library, or its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from src.statistics.intervals import mean_interval, paired_interval, ratio_interval, wilson


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def test_a_paired_interval_is_that_of_the_t_test() -> None:
    one, other = normal(0, 7), normal(1, 7)
    found, oracle = paired_interval(one, other), stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.value == pytest.approx((one - other).mean())


def test_one_value_or_no_spread_has_no_interval() -> None:
    assert mean_interval(np.array([0.8])) is None
    assert mean_interval(np.array([0.8, 0.8, 0.8])) is None
    assert ratio_interval(np.array([2.0, 4.0]), np.array([1.0, 2.0])) is None


def test_a_ratio_of_costs_is_one_of_geometric_means() -> None:
    one, other = np.exp(normal(2, 9)), np.exp(normal(3, 9))
    found = ratio_interval(one, other)
    assert found is not None
    assert found.value == pytest.approx(stats.gmean(one) / stats.gmean(other))
    swapped = ratio_interval(other, one)
    assert swapped is not None
    assert (found.low, found.high) == pytest.approx((1 / swapped.high, 1 / swapped.low))


def test_wilson_by_its_formula() -> None:
    hits, count, z = 81, 90, stats.norm.ppf(0.975)
    centre = (hits + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * math.sqrt(hits * (count - hits) / count + z**2 / 4)
    found = wilson(hits, count)
    assert (found.value, found.low, found.high) == pytest.approx((0.9, centre - half, centre + half))
