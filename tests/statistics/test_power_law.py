"""Learning curves: known curves are found, intervals hold the truth, and what cannot be said is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit

from src.statistics.intervals import Interval
from src.statistics.power_law import power_law

NUMBERS = np.repeat([250.0, 500.0, 1_000.0, 2_000.0], 3)


def curve(numbers: np.ndarray | float, a: float, b: float, c: float) -> np.ndarray:
    return np.asarray(a + b * np.asarray(numbers, dtype=np.float64) ** -c)


def test_a_curve_without_noise_is_found() -> None:
    found = power_law(NUMBERS, curve(NUMBERS, 0.1, 1.2, 0.4))
    assert found.at(4_000) == pytest.approx(float(curve(4_000, 0.1, 1.2, 0.4)), abs=1e-5)
    assert found.best.c == pytest.approx(0.4, rel=1e-3)


def test_the_fit_is_that_of_weighted_least_squares() -> None:
    errors = curve(NUMBERS, 0.15, 3, 0.6) + np.random.default_rng(19).normal(scale=0.003, size=12)
    found = power_law(NUMBERS, errors)
    best, _ = curve_fit(curve, NUMBERS, errors, (0.1, 1, 0.5), sigma=NUMBERS**-0.5, bounds=(0, [1, np.inf, 5]))
    assert found.at(4_000) == pytest.approx(float(curve(4_000, *best)), abs=1e-4)


def falling_ever_faster() -> np.ndarray:
    """Errors whose best curve would have a negative plateau."""
    return 0.30 - 0.06 * np.log2(NUMBERS / 250) + np.random.default_rng(24).normal(scale=0.004, size=12)


@pytest.mark.parametrize("plateau", [True, False])
def test_the_interval_is_the_range_of_all_curves_that_fit(plateau: bool) -> None:
    """Against a grid of a, b and c: those whose sum of squares is at most 1 + F / 9 times the smallest one."""
    noise = np.random.default_rng(25).normal(scale=0.004, size=12)
    errors = curve(NUMBERS, 0.12, 1.5, 0.5) + noise if plateau else falling_ever_faster()
    law, share = power_law(NUMBERS, errors), NUMBERS / 2_000
    found = law.doubled()
    assert isinstance(found, Interval)
    a, b, c = np.meshgrid(np.linspace(0, 0.2, 61), np.linspace(0, 0.25, 101), np.geomspace(0.05, 4, 61), indexing="ij")
    squares = sum(n * (error - a - b * x**-c) ** 2 for n, error, x in zip(NUMBERS, errors, share, strict=True))
    fitting = (a + b * 2**-c)[squares <= law.best.squares * (1 + stats.f.ppf(0.95, 1, 9) / 9)]
    assert law.best.squares <= np.min(squares)
    assert (found.low, found.high) == pytest.approx((fitting.min(), fitting.max()), abs=2e-3)
    assert (law.best.a > 0) == plateau


def test_intervals_hold_the_truth() -> None:
    """95% of 60 intervals, within three binomial standard errors (0.084)."""
    random, truth = np.random.default_rng(20), (0.1, 1.2, 0.4)
    noise = 0.007 * np.sqrt(2_000 / NUMBERS)
    found = [power_law(NUMBERS, curve(NUMBERS, *truth) + noise * random.normal(size=12)).doubled() for _ in range(60)]
    given = [one for one in found if isinstance(one, Interval)]
    assert len(given) >= 50
    held = np.mean([one.low <= curve(4_000, *truth) <= one.high for one in given])
    assert held >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)


def test_hardly_any_noise_is_a_narrow_interval_and_not_one_without_width() -> None:
    errors = curve(NUMBERS, 0.1, 1.2, 0.4) + np.random.default_rng(26).normal(scale=1e-6, size=12)
    found = power_law(NUMBERS, errors).doubled()
    assert isinstance(found, Interval)
    assert found.low < found.value < found.high < found.low + 1e-4


def test_what_cannot_be_said_is_refused() -> None:
    errors = curve(NUMBERS, 0.1, 1.2, 0.4) + np.random.default_rng(21).normal(scale=0.003, size=12)
    flat = 0.2 + np.random.default_rng(22).normal(scale=0.01, size=12)
    assert "does not clearly fall" in str(power_law(NUMBERS, flat).doubled())
    assert "does not clearly fall" in str(power_law(NUMBERS, 0.3 - errors).doubled())
    assert "at least four runs" in str(power_law(NUMBERS[:6], errors[:6]).doubled())
    assert "at least four runs" in str(power_law(NUMBERS[[0, 3, 6]], errors[[0, 3, 6]]).doubled())
