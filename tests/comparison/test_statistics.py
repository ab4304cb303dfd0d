"""Each statistic against a reference: brute force, published numbers, or a simulation without an effect."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from src.comparison import statistics
from src.comparison.statistics import Interval


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def test_a_paired_interval_is_that_of_the_t_test() -> None:
    one, other = normal(0, 7), normal(1, 7)
    found, oracle = statistics.paired_interval(one, other), stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.value == pytest.approx((one - other).mean())


def test_one_value_or_no_spread_has_no_interval() -> None:
    assert statistics.mean_interval(np.array([0.8])) is None
    assert statistics.mean_interval(np.array([0.8, 0.8, 0.8])) is None
    assert statistics.ratio_interval(np.array([2.0, 4.0]), np.array([1.0, 2.0])) is None
    assert statistics.verdict(None, 0.01, 0.01) == "inconclusive"


def test_a_ratio_of_costs_is_one_of_geometric_means() -> None:
    one, other = np.exp(normal(2, 9)), np.exp(normal(3, 9))
    found = statistics.ratio_interval(one, other)
    assert found is not None
    assert found.value == pytest.approx(stats.gmean(one) / stats.gmean(other))
    swapped = statistics.ratio_interval(other, one)
    assert swapped is not None
    assert (found.low, found.high) == pytest.approx((1 / swapped.high, 1 / swapped.low))


@pytest.mark.parametrize("count", [2, 5, 6, 9])
def test_the_sign_flip_test_is_a_count_of_all_signs(count: int) -> None:
    differences = normal(count, count) + 0.4
    means = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=count)]
    extreme = sum(abs(m) >= abs(differences.mean()) - 1e-12 for m in means)
    assert statistics.sign_flip_p(differences) == pytest.approx(extreme / 2**count)


def test_fewer_than_six_seeds_cannot_be_significant() -> None:
    assert statistics.sign_flip_p(np.full(5, 1.0) + normal(0, 5, scale=0.01)) > 0.05
    assert statistics.sign_flip_p(np.full(6, 1.0) + normal(0, 6, scale=0.01)) < 0.05
    assert statistics.seeds_needed(1) == 6
    for comparisons in (1, 3, 5, 12):
        seeds = statistics.seeds_needed(comparisons)
        assert comparisons * 2 / 2**seeds <= 0.05
        assert seeds == 6 or comparisons * 2 / 2 ** (seeds - 1) > 0.05


def test_holm_by_the_book() -> None:
    # Holm (1979): the smallest times m, the next times m - 1, never falling.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []


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


def test_mcnemar_is_the_exact_binomial_test() -> None:
    random = np.random.default_rng(5)
    one, other = random.random(200) < 0.8, random.random(200) < 0.7
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert statistics.mcnemar_p(one, other) == pytest.approx(min(1.0, 2 * tail))
    assert statistics.mcnemar_p(one, one) == 1.0


def test_wilson_by_its_formula() -> None:
    hits, count, z = 81, 90, stats.norm.ppf(0.975)
    centre = (hits + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * math.sqrt(hits * (count - hits) / count + z**2 / 4)
    found = statistics.wilson(hits, count)
    assert (found.value, found.low, found.high) == pytest.approx((0.9, centre - half, centre + half))


def test_the_win_rate_counts_ties_as_a_half() -> None:
    found = statistics.win_rate_interval(
        statistics.wins(np.array([3.0, 2.0, 1.0, 5.0]), np.array([1.0, 2.0, 4.0, 4.0]))
    )
    assert found is not None
    assert found.value == pytest.approx(2.5 / 4)
    assert 0 <= found.low < found.value < found.high <= 1


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


def test_nothing_is_found_where_there_is_nothing() -> None:
    """Of 2,000 experiments without a difference, at most alpha are significant, and 95% of intervals hold 0."""
    trials, seeds = 2_000, 6
    differences = normal(11, trials, seeds)
    intervals = [statistics.mean_interval(d) for d in differences]
    covered = np.mean([i is not None and i.low <= 0 <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97
    false = np.mean([statistics.sign_flip_p(d) <= 0.05 for d in differences[:600]])
    assert false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 600)


def test_of_equal_strategies_none_is_called_superior() -> None:
    """Of 200 sweeps of four strategies that are as good as the baseline, at most alpha name a winner."""
    margin, strategies, seeds, sweeps = 0.01, 4, 8, 200
    found = 0
    for scores in normal(13, sweeps, strategies + 1, seeds):
        differences = [mine - scores[0] for mine in scores[1:]]
        adjusted = statistics.holm([statistics.sign_flip_p(d) for d in differences])
        verdicts = [
            statistics.verdict(statistics.mean_interval(d), margin, p)
            for d, p in zip(differences, adjusted, strict=True)
        ]
        found += "superior" in verdicts
    assert found / sweeps <= 0.05
