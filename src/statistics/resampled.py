"""Differences over the folds of repeated cross-validation, whose training texts overlap."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from src.arrays import NDArray
from src.statistics.estimate import Estimate


def resampled(differences: Float[NDArray[np.float64], " runs"], folds: int) -> Estimate | None:
    """Returns the mean difference with the standard error of the corrected resampled t test: the variance of the mean
    is (1/J + 1/(folds - 1)) s², where 1/(folds - 1) is the ratio of test to training texts (Nadeau & Bengio 2003).

    None for a single run or without spread.

    Args:
        differences: of J runs, one for each fold of each repeat.
        folds: of each repeat, at least 2.
    """
    runs = len(differences)
    if runs < 2 or np.ptp(differences) == 0:
        return None
    variance = (1 / runs + 1 / (folds - 1)) * float(differences.var(ddof=1))
    return Estimate(float(differences.mean()), math.sqrt(variance), float(runs - 1))
