"""Each test against a reference: brute force, published numbers, or a simulation without an effect."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from src.statistics.intervals import mean_interval
from src.statistics.significance import mcnemar_p, sign_flip_p, win_rate_interval, wins


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


@pytest.mark.parametrize("count", [2, 5, 6, 9])
def test_the_sign_flip_test_is_a_count_of_all_signs(count: int) -> None:
    differences = normal(count, count) + 0.4
    means = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=count)]
    extreme = sum(abs(m) >= abs(differences.mean()) - 1e-12 for m in means)
    assert sign_flip_p(differences) == pytest.approx(extreme / 2**count)


def test_fewer_than_six_seeds_cannot_be_significant() -> None:
    assert sign_flip_p(np.full(5, 1.0) + normal(0, 5, scale=0.01)) > 0.05
    assert sign_flip_p(np.full(6, 1.0) + normal(0, 6, scale=0.01)) < 0.05


def test_mcnemar_is_the_exact_binomial_test() -> None:
    random = np.random.default_rng(5)
    one, other = random.random(200) < 0.8, random.random(200) < 0.7
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar_p(one, other) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar_p(one, one) == 1.0


def test_the_win_rate_counts_ties_as_a_half() -> None:
    found = win_rate_interval(wins(np.array([3.0, 2.0, 1.0, 5.0]), np.array([1.0, 2.0, 4.0, 4.0])))
    assert found is not None
    assert found.value == pytest.approx(2.5 / 4)
    assert 0 <= found.low < found.value < found.high <= 1


def test_nothing_is_found_where_there_is_nothing() -> None:
    """Of 2,000 experiments without a difference, at most alpha are significant, and 95% of intervals hold 0."""
    trials, seeds = 2_000, 6
    differences = normal(11, trials, seeds)
    intervals = [mean_interval(d) for d in differences]
    covered = np.mean([i is not None and i.low <= 0 <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97
    false = np.mean([sign_flip_p(d) <= 0.05 for d in differences[:600]])
    assert false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 600)
