"""The corrected resampled t test by its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from src.statistics.resampled import resampled


def test_the_corrected_resampled_t_by_its_formula() -> None:
    """Nadeau & Bengio (2003): ten runs of 5-fold cross-validation test on a quarter of what they train on."""
    differences = np.random.default_rng(17).normal(0.02, 0.01, 10)
    found = resampled(differences, folds=5)
    assert found is not None
    t = differences.mean() / math.sqrt((1 / 10 + 1 / 4) * differences.var(ddof=1))
    assert found.p() == pytest.approx(2 * stats.t.sf(abs(t), 9))
    assert found.interval().value == pytest.approx(differences.mean())


def test_it_is_wider_than_if_runs_were_independent() -> None:
    differences = np.random.default_rng(18).normal(size=10)
    found = resampled(differences, folds=5)
    assert found is not None
    assert found.error / stats.sem(differences) == pytest.approx(math.sqrt((1 / 10 + 1 / 4) * 10))


def test_one_run_or_no_spread_is_no_estimate() -> None:
    assert resampled(np.array([0.1]), folds=5) is None
    assert resampled(np.full(5, 0.1), folds=5) is None
