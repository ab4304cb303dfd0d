"""Predicted widths against those of experiments that are then made."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.generator import Population, differences, equal
from src.statistics.crossed import components, crossed
from src.statistics.estimate import Components
from src.statistics.planning import predicted, seeds_needed, units_needed

POPULATION = Population(equal(0.8, 2), 0.16, 0.06, 0.006)


def truth() -> Components:
    """The components of the population, from one large experiment."""
    return components(differences(POPULATION.draw(60, 20_000, np.random.default_rng(12)))[0])


def errors(seeds: int, texts: int, count: int) -> np.ndarray:
    tables = differences(POPULATION.draw(seeds, texts, np.random.default_rng(13), count))
    return np.array([found.error for found in map(crossed, tables) if found is not None])


@pytest.mark.parametrize(("seeds", "texts"), [(3, 400), (6, 400), (3, 1_500), (10, 200)])
def test_standard_errors_are_predicted_from_the_true_components(seeds: int, texts: int) -> None:
    found = predicted(truth(), seeds, texts)
    assert found is not None
    measured = np.sqrt(np.mean(errors(seeds, texts, 150) ** 2))
    assert found.error == pytest.approx(measured, rel=0.08)  # three standard errors of 150 with few seeds


def test_predictions_from_three_seeds_are_right_on_average() -> None:
    """From 3 seeds x 400 texts to 8 seeds x 1,500 texts: the mean prediction is within 10% of what is then measured."""
    tables = differences(POPULATION.draw(3, 400, np.random.default_rng(14), 200))
    guesses = [predicted(components(table), 8, 1_500) for table in tables]
    squares = [guess.error**2 for guess in guesses if guess is not None]
    assert np.sqrt(np.mean(squares)) == pytest.approx(np.sqrt(np.mean(errors(8, 1_500, 60) ** 2)), rel=0.10)


def test_the_same_numbers_predict_the_estimate_itself() -> None:
    random = np.random.default_rng(15)
    table = random.normal(size=(4, 1)) + random.normal(size=300) + random.normal(size=(4, 300))
    found, parts = crossed(table), components(table)
    again = predicted(parts, 4, 300, mean=float(table.mean()))
    assert found is not None
    assert again is not None
    assert parts.seed > 0 < parts.unit  # none was cut at 0, so nothing is lost
    assert (again.mean, again.error, again.freedom) == pytest.approx((found.mean, found.error, found.freedom))


def width(parts: Components, seeds: int, units: int, comparisons: int = 1) -> float:
    found = predicted(parts, seeds, units)
    assert found is not None
    return found.half_width(comparisons=comparisons)


def test_the_smallest_numbers_that_are_enough_are_found() -> None:
    parts = Components(3, 400, 2e-5, 0.04, 0.06, 2e-5 * 400 + 0.06, 3 * 0.04 + 0.06, 0.06)
    target = width(parts, 3, 400) * 0.9
    seeds = seeds_needed(parts, target)
    assert seeds is not None
    assert width(parts, seeds, 400) <= target < width(parts, seeds - 1, 400)
    units = units_needed(parts, target, comparisons=5)
    assert units is not None
    assert width(parts, 3, units, 5) <= target < width(parts, 3, units - 1, 5)
    assert seeds_needed(parts, target * 10) == 3
    assert units_needed(parts, target * 10) == 400


def test_more_of_what_is_not_scarce_does_not_help() -> None:
    texts_vary = Components(3, 400, 0.0, 0.05, 0.0, 0.0, 0.15, 0.0)
    assert seeds_needed(texts_vary, width(texts_vary, 3, 400) * 0.9) is None
    assert units_needed(texts_vary, width(texts_vary, 3, 400) * 0.5) == pytest.approx(1_600, rel=0.02)
    seeds_vary = Components(3, 400, 1e-3, 1e-4, 1e-4, 0.4001, 4e-4, 1e-4)
    assert units_needed(seeds_vary, width(seeds_vary, 3, 400) * 0.9) is None


def test_texts_are_enough_though_many_more_are_not() -> None:
    """Very many texts leave the variance between three seeds, with two degrees of freedom."""
    parts, target = Components(3, 400, 2e-5, 0.16, 0.06, 0.068, 0.54, 0.06), 0.04
    units = units_needed(parts, target, comparisons=15)
    assert units == 1_173
    assert width(parts, 3, units, 15) <= target < min(width(parts, 3, n, 15) for n in (units - 1, 1_000_000))
    assert units_needed(parts, target / 4, comparisons=15) is None


def test_from_one_seed_only_texts_are_planned() -> None:
    parts = components(np.random.default_rng(16).normal(size=(1, 50)))
    assert predicted(parts, 2, 50) is None
    assert seeds_needed(parts, 0.001) is None
    found = predicted(parts, 1, 200)
    assert found is not None
    assert found.of_models
    assert found.error == pytest.approx(np.sqrt(parts.unit / 200))
