"""Verdicts by hand and by simulation without an effect; the bootstrap against the formula of its variance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from src.comparison import statistics
from src.statistics.intervals import Interval, mean_interval
from src.statistics.significance import holm, sign_flip_p


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def test_seeds_needed_are_the_fewest_that_can_be_significant() -> None:
    assert statistics.seeds_needed(1) == 6
    for comparisons in (1, 3, 5, 12):
        seeds = statistics.seeds_needed(comparisons)
        assert comparisons * 2 / 2**seeds <= 0.05
        assert seeds == 6 or comparisons * 2 / 2 ** (seeds - 1) > 0.05
    assert statistics.verdict(None, 0.01, 0.01) == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.001, 0.02, "superior"),
        (-0.009, 0.02, "non-inferior"),
        (-0.009, -0.001, "non-inferior"),
        (-0.02, 0.02, "inconclusive"),
        (-0.02, -0.005, "inconclusive"),
        (-0.03, -0.011, "inferior"),
    ],
)
def test_verdicts(low: float, high: float, wanted: str) -> None:
    assert statistics.verdict(Interval((low + high) / 2, low, high), margin=0.01, p=0.03) == wanted


@pytest.mark.parametrize("p", [0.06, None])
def test_an_interval_above_zero_is_superior_only_if_p_says_so_too(p: float | None) -> None:
    assert statistics.verdict(Interval(0.01, 0.001, 0.02), margin=0.01, p=p) == "non-inferior"


def test_the_bootstrap_of_seeds_and_examples_has_the_spread_of_both() -> None:
    """Its variance is about that of the seeds' means plus that of the rows' means."""
    random = np.random.default_rng(7)
    hard = random.random(800) < 0.3
    one = np.array([(random.random(800) < 0.8 + shift) & ~hard for shift in (-0.05, 0, 0.02, 0.05, 0.08, -0.03)])
    other = np.array([(random.random(800) < 0.7) & ~hard for _ in range(6)])
    found = statistics.bootstrap_difference(one, other)
    gain = one.astype(float) - other
    assert found is not None
    assert found.value == pytest.approx(gain.mean())
    spread = math.sqrt(gain.mean(1).var() / 6 + gain.mean(0).var() / 800)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.15)
    assert statistics.bootstrap_difference(one, one) is None
    assert statistics.bootstrap_difference(one[:1], other[:1]) is None


def test_of_equal_strategies_none_is_called_superior() -> None:
    """Of 200 sweeps of four strategies that are as good as the baseline, at most alpha name a winner."""
    margin, strategies, seeds, sweeps = 0.01, 4, 8, 200
    found = 0
    for scores in normal(13, sweeps, strategies + 1, seeds):
        differences = [mine - scores[0] for mine in scores[1:]]
        adjusted = holm([sign_flip_p(d) for d in differences])
        verdicts = [statistics.verdict(mean_interval(d), margin, p) for d, p in zip(differences, adjusted, strict=True)]
        found += "superior" in verdicts
    assert found / sweeps <= 0.05
