"""Claims of the best group hold together: on paper, and in experiments with a known truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.generator import Population, differences, equal
from src.statistics.best import AllPairs, Best
from src.statistics.crossed import crossed
from src.statistics.estimate import Estimate

Pairs = Mapping[tuple[str, str], Estimate | None]


def sure(mean: float, error: float = 0.01) -> Estimate:
    return Estimate(mean, error, 1e9)


def best(names: list[str], pairs: Pairs) -> Best:
    return AllPairs(names, pairs).best(names)


def test_what_is_clearly_below_some_other_is_excluded() -> None:
    pairs = {("a", "b"): sure(0.10), ("a", "c"): sure(0.01), ("b", "c"): sure(-0.09)}
    found = best(["a", "b", "c"], pairs)
    assert found.candidates == ["a", "c"]
    z = 2.393980  # of 0.05 / 6 on one side: three pairs with two sides
    assert found.loss["a"] == pytest.approx(-0.01 + z * 0.01)
    assert found.loss["b"] == pytest.approx(0.10 + z * 0.01)
    assert found.loss["c"] == pytest.approx(0.01 + z * 0.01)


def test_a_group_that_is_excluded_bounds_no_loss() -> None:
    pairs = {("a", "b"): sure(0.10), ("a", "c"): sure(0.01), ("b", "c"): sure(0.0, error=0.5)}
    found = best(["a", "b", "c"], pairs)
    assert found.candidates == ["a", "c"]
    assert found.loss["c"] == pytest.approx(0.01 + 2.393980 * 0.01)


def test_the_winner_of_clear_differences_loses_nothing() -> None:
    found = best(["a", "b"], {("b", "a"): sure(-0.2)})
    assert found == Best(["a"], {"a": 0.0, "b": pytest.approx(0.2 + 1.959964 * 0.01)})


def test_pairs_in_either_order_are_the_same() -> None:
    names = ["a", "b", "c"]
    pairs: Pairs = {("a", "b"): sure(0.03), ("a", "c"): sure(0.02), ("b", "c"): sure(-0.01)}
    turned = {(b, a): found and found.reversed for (a, b), found in pairs.items()}
    assert best(names, pairs) == best(names, turned)
    assert set(best(names[::-1], pairs).candidates) == set(best(names, pairs).candidates)


def test_without_an_estimate_nothing_is_excluded_and_no_loss_is_bounded() -> None:
    assert best(["a"], {}) == Best(["a"], {"a": 0.0})
    assert best(["a", "b"], {("a", "b"): None}) == Best(["a", "b"], {"a": None, "b": None})


def test_p_is_below_alpha_where_the_interval_does_not_hold_zero() -> None:
    for mean in (0.0195, 0.0240, 0.0235):
        pairs = AllPairs(["a", "b", "c"], {("a", "b"): sure(mean), ("a", "c"): None})
        p, interval = pairs.p("b", "a"), pairs.interval("b", "a")
        assert p is not None
        assert interval is not None
        assert (p <= 0.05) == (interval.high < 0)
        assert p == pytest.approx(3 * sure(mean).p())
        assert pairs.p("a", "c") is None


def experiments(population: Population, seeds: int, texts: int, count: int) -> list[tuple[Best, Pairs]]:
    random, names = np.random.default_rng(11), [str(i) for i in range(len(population.accuracy))]
    found = []
    for _ in range(count):
        right = population.draw(seeds, texts, random)
        pairs = {(a, b): crossed(differences(right, int(a), int(b))[0]) for a, b in itertools.combinations(names, 2)}
        found.append((best(names, pairs), pairs))
    return found


def held(accuracy: tuple[float, ...], found: Best) -> bool:
    """Whether the first of the best groups is in the set and all bounds of losses hold."""
    top = max(accuracy)
    return str(accuracy.index(top)) in found.candidates and all(
        bound is None or bound >= top - accuracy[int(name)] - 1e-12 for name, bound in found.loss.items()
    )


def false(accuracy: tuple[float, ...], pairs: Pairs) -> bool:
    """Whether some group is called better than one that is as good."""
    found = AllPairs([str(i) for i in range(len(accuracy))], pairs)
    return any(
        accuracy[int(a)] <= accuracy[int(b)] and (interval := found.interval(a, b)) is not None and interval.low > 0
        for a, b in itertools.permutations(found.names, 2)
    )


@pytest.mark.parametrize("accuracy", [equal(0.8, 3), (0.8, 0.8, 0.72), (0.8, 0.75), equal(0.8, 6)])
def test_all_claims_of_the_best_hold_in_95_of_100_experiments(accuracy: tuple[float, ...]) -> None:
    """200 experiments with three seeds: at least 95%, within three binomial standard errors (0.046)."""
    found = experiments(Population(accuracy, 0.16, 0.06, 0.004), 3, 400, 200)
    error = 3 * math.sqrt(0.95 * 0.05 / 200)
    assert np.mean([held(accuracy, one) for one, _ in found]) >= 0.95 - error
    assert np.mean([false(accuracy, pairs) for _, pairs in found]) <= 0.05 + error


def test_a_group_that_is_eight_points_worse_is_excluded() -> None:
    found = experiments(Population((*equal(0.8, 5), 0.72), 0.16, 0.06, 0.004), 3, 1_066, 40)
    assert np.mean(["5" not in one.candidates for one, _ in found]) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("accuracy", [equal(0.8, 2), equal(0.8, 6), (*equal(0.8, 5), 0.75), (0.8, 0.79, 0.78, 0.75)])
@pytest.mark.parametrize("kind", [(0.16, 0.11, 0.005), (0.20, 0.08, 0.010)])
def test_the_whole_grid_of_the_best(seeds: int, accuracy: tuple[float, ...], kind: tuple[float, float, float]) -> None:
    """400 experiments each, on 1,066 texts: the set and the losses, and no false claim against the first group."""
    found = experiments(Population(accuracy, *kind), seeds, 1_066, 400)
    error = 3 * math.sqrt(0.95 * 0.05 / 400)
    lowest = (0.95 if seeds > 2 else 0.93) - error
    assert np.mean([held(accuracy, one) for one, _ in found]) >= lowest
    assert np.mean([false(accuracy, pairs) for _, pairs in found]) <= 1 - lowest
