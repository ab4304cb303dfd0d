"""Leave-one-out predictions of ridge regressions equal those of as many regressions as there are rows."""

from __future__ import annotations

import numpy as np
import pytest

from src.arrays import NDArray
from src.statistics.ridge import GRID, leave_one_out


def drawn(rows: int, features: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, features)) + 3
    return inputs, inputs @ random.normal(size=(features, 2)) + random.normal(size=(rows, 2))


def refitted(inputs: NDArray[np.float64], targets: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    found = np.empty_like(targets)
    for i in range(len(inputs)):
        rest = np.arange(len(inputs)) != i
        mean, height = inputs[rest].mean(0), targets[rest].mean(0)
        centred = inputs[rest] - mean
        gram = centred.T @ centred + penalty * np.eye(inputs.shape[1])
        found[i] = height + (inputs[i] - mean) @ np.linalg.solve(gram, centred.T @ (targets[rest] - height))
    return found


@pytest.mark.parametrize(("rows", "features"), [(40, 7), (15, 30), (20, 20)])
@pytest.mark.parametrize("relative", [1e-3, 1.0, 1e3])
def test_they_equal_refitting_without_each_row(rows: int, features: int, relative: float) -> None:
    inputs, targets = drawn(rows, features)
    found = leave_one_out(inputs, targets, [relative])
    assert found.predictions == pytest.approx(refitted(inputs, targets, found.penalty), abs=1e-6)


def test_the_penalty_has_the_least_error_of_the_grid() -> None:
    inputs, targets = drawn(30, 25)
    errors = {}
    for relative in GRID:
        found = leave_one_out(inputs, targets, [relative])
        errors[found.penalty] = float(((found.predictions - targets) ** 2).sum())
    best = leave_one_out(inputs, targets)
    assert best.penalty == min(errors, key=lambda penalty: errors[penalty])
    assert len(set(errors)) == len(GRID)


def test_the_order_of_the_rows_does_not_matter() -> None:
    inputs, targets = drawn(50, 12)
    order = np.random.default_rng(1).permutation(50)
    found, other = leave_one_out(inputs, targets), leave_one_out(inputs[order], targets[order])
    assert other.predictions == pytest.approx(found.predictions[order], abs=1e-9)


def test_features_without_spread_predict_the_mean_of_the_others() -> None:
    targets = np.array([[1.0], [2.0], [6.0]])
    assert leave_one_out(np.ones((3, 4)), targets).predictions == pytest.approx(np.array([[4.0], [3.5], [1.5]]))
