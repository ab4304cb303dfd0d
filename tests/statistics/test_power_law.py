"""Learning curves: known curves are found, intervals hold the truth, and what cannot be said is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from src.statistics.intervals import Interval
from src.statistics.power_law import power_law

NUMBERS = np.repeat([250.0, 500.0, 1_000.0, 2_000.0], 3)


def curve(numbers: np.ndarray | float, a: float, b: float, c: float) -> np.ndarray:
    return np.asarray(a + b * np.asarray(numbers, dtype=np.float64) ** -c)


def test_a_curve_without_noise_is_found() -> None:
    found = power_law(NUMBERS, curve(NUMBERS, 0.1, 1.2, 0.4))
    assert found.at(4_000) == pytest.approx(float(curve(4_000, 0.1, 1.2, 0.4)), abs=2e-4)
    assert found.best.c == pytest.approx(0.4, rel=0.05)


def test_the_fit_is_that_of_weighted_least_squares() -> None:
    errors = curve(NUMBERS, 0.15, 3, 0.6) + np.random.default_rng(19).normal(scale=0.003, size=12)
    found = power_law(NUMBERS, errors)
    best, _ = curve_fit(curve, NUMBERS, errors, (0.1, 1, 0.5), sigma=NUMBERS**-0.5, bounds=(0, [1, np.inf, 5]))
    assert found.at(4_000) == pytest.approx(float(curve(4_000, *best)), abs=1e-4)


def test_intervals_hold_the_truth() -> None:
    """95% of 60 intervals, within three binomial standard errors (0.084)."""
    random, truth = np.random.default_rng(20), (0.1, 1.2, 0.4)
    noise = 0.007 * np.sqrt(2_000 / NUMBERS)
    found = [
        power_law(NUMBERS, curve(NUMBERS, *truth) + noise * random.normal(size=12)).interval(4_000) for _ in range(60)
    ]
    given = [one for one in found if isinstance(one, Interval)]
    assert len(given) >= 50
    held = np.mean([one.low <= curve(4_000, *truth) <= one.high for one in given])
    assert held >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 60)


def test_what_cannot_be_said_is_refused() -> None:
    errors = curve(NUMBERS, 0.1, 1.2, 0.4) + np.random.default_rng(21).normal(scale=0.003, size=12)
    assert "more than 2 times" in str(power_law(NUMBERS, errors).interval(4_001))
    flat = 0.2 + np.random.default_rng(22).normal(scale=0.01, size=12)
    assert "does not clearly fall" in str(power_law(NUMBERS, flat).interval(4_000))
    assert "does not clearly fall" in str(power_law(NUMBERS, 0.3 - errors).interval(4_000))
    assert "at least four runs" in str(power_law(NUMBERS[:6], errors[:6]).interval(1_000))
    assert "at least four runs" in str(power_law(NUMBERS[[0, 3, 6]], errors[[0, 3, 6]]).interval(2_000))
