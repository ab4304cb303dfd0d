"""Ridge regression with exact leave-one-out predictions, all from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from src.arrays import NDArray

# Of the penalty, relative to the mean squared singular value.
GRID = tuple(float(power) for power in np.logspace(-3, 3, 13))


@dataclass(frozen=True)
class LeaveOneOut:
    """Predictions of rows by a ridge regression on all other rows.

    Args:
        predictions: of the targets.
        penalty: of the squared weights, the one with the least squared error of the predictions.
    """

    predictions: Float[NDArray[np.float64], "rows targets"]
    penalty: float


def leave_one_out(
    features: Float[NDArray[np.floating], "rows features"],
    targets: Float[NDArray[np.float64], "rows targets"],
    grid: Sequence[float] = GRID,
) -> LeaveOneOut:
    """Returns what a ridge regression with an intercept predicts for each row when it is fitted on all others.

    With the singular values s and the left singular vectors u of the centred features, row i has the leverage
    h_i = 1/n + sum_j u_ij² s_j² / (s_j² + penalty), and its prediction without it is (ŷ_i - h_i y_i) / (1 - h_i)
    (Allen 1974, PRESS). The penalty is the same for all targets.

    Args:
        features: of at least two rows.
        targets: to predict.
        grid: the penalties that are tried, relative to the mean squared singular value.
    """
    rows = len(features)
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    mean = targets.mean(0)
    vectors, squares = _left_singular(centred)
    projected, weight = vectors.T @ (targets - mean), vectors**2
    best: LeaveOneOut | None = None
    least = np.inf
    for penalty in (value * float(squares.sum() / max(1, len(squares))) for value in grid):
        shrunk = squares / (squares + penalty)
        leverage = (1 / rows + weight @ shrunk)[:, None]
        fitted = mean + vectors @ (shrunk[:, None] * projected)
        predictions = (fitted - leverage * targets) / (1 - leverage)
        error = float(((predictions - targets) ** 2).sum())
        if best is None or error < least:
            best, least = LeaveOneOut(predictions, penalty), error
    assert best is not None
    return best


def _left_singular(
    centred: Float[NDArray[np.float64], "rows features"],
) -> tuple[Float[NDArray[np.float64], "rows rank"], Float[NDArray[np.float64], " rank"]]:
    """Returns the left singular vectors and the squared singular values, from the smaller of the two Gram matrices."""
    rows, features = centred.shape
    if rows <= features:
        squares, vectors = np.linalg.eigh(centred @ centred.T)
        kept = squares > max(squares[-1] * 1e-10, 1e-300)
        return vectors[:, kept], squares[kept]
    squares, right = np.linalg.eigh(centred.T @ centred)
    kept = squares > max(squares[-1] * 1e-10, 1e-300)
    return centred @ (right[:, kept] / np.sqrt(squares[kept])), squares[kept]
