"""Looks after every block: together they make false claims in at most 5% of races, where the truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks.generator import STRONG_SEEDS, Population, differences, equal
from src.arrays import NDArray
from src.statistics.crossed import crossed
from src.statistics.sequential import alpha_at, comparisons, difference, first_look, seed_square


@pytest.mark.parametrize(("groups", "blocks"), [(2, 5), (6, 5), (3, 2), (4, 15)])
def test_all_looks_together_spend_five_percent(groups: int, blocks: int) -> None:
    first = first_look(groups)
    spent = [alpha_at(look, blocks, first) for look in range(first, blocks + 1)]
    assert sum(spent) == pytest.approx(0.05)
    assert min(spent) > 0
    assert spent[0] == max(spent)


def test_the_mean_square_between_seeds_is_that_of_all_pairs() -> None:
    table = np.random.default_rng(0).normal(size=(4, 3, 50))
    found = seed_square(table.mean(2), 50)
    assert found is not None
    pairs = [crossed(one - other) for one, other in itertools.combinations(table, 2)]
    squares = [pair.components.ms_seed for pair in pairs if pair and pair.components]
    assert found.value == pytest.approx(np.mean(squares))
    assert found.groups == 4
    assert seed_square(table[:2].mean(2), 50) is None
    assert seed_square(table[:, :1].mean(2), 50) is None


def test_the_larger_mean_square_counts() -> None:
    right = Population(equal(0.8, 3), *STRONG_SEEDS).draw(2, 500, np.random.default_rng(1))
    of_all = seed_square(right[0].mean(2), 500)
    assert of_all is not None
    for one, other in itertools.combinations(range(3), 2):
        table = differences(right, one, other)[0]
        own, found = crossed(table), difference(table, of_all)
        assert own is not None
        assert own.components is not None
        assert found is not None
        assert found.components is not None
        assert found.components.ms_seed == max(own.components.ms_seed, of_all.value)
        assert found.mean == own.mean
        assert difference(table, None) == own


def misses(population: Population, texts: int, blocks: int, count: int) -> float:
    """Returns in which fraction of races the lower bound of some difference of pairs misses it at some look."""
    random, groups = np.random.default_rng(5), len(population.accuracy)
    first, pairs = first_look(groups), list(itertools.permutations(range(groups), 2))
    found = 0
    for _ in range(count):
        right = population.draw(blocks, texts, random)
        found += any(
            _missed(right[:, :, :look], one, other, 1 - alpha_at(look, blocks, first), population)
            for look in range(first, blocks + 1)
            for one, other in pairs
        )
    return found / count


def _missed(right: NDArray[np.bool_], one: int, other: int, level: float, population: Population) -> bool:
    estimate = difference(differences(right, one, other)[0], seed_square(right[0].mean(2), right.shape[-1]))
    assert estimate is not None
    bounds = estimate.interval(level, comparisons(len(population.accuracy), both_ways=True), sides=1)
    return bounds.low > population.accuracy[one] - population.accuracy[other]


@pytest.mark.parametrize("accuracy", [equal(0.8, 3), (0.8, 0.78, 0.75)])
@pytest.mark.parametrize("kind", [(0.16, 0.08, 0.005), STRONG_SEEDS])
def test_no_claim_of_a_race_is_false_in_95_of_100(
    accuracy: tuple[float, ...], kind: tuple[float, float, float]
) -> None:
    """150 races of four blocks: at most 5%, within three binomial standard errors."""
    assert misses(Population(accuracy, *kind), 300, 4, 150) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize("texts", [200, 1_066])
@pytest.mark.parametrize("kind", [(0.16, 0.11, 0.005), (0.20, 0.08, 0.010), STRONG_SEEDS])
def test_the_whole_grid_of_races(groups: int, texts: int, kind: tuple[float, float, float]) -> None:
    """400 races of five blocks each."""
    found = misses(Population(equal(0.8, groups), *kind), texts, 5, 400)
    assert found <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
