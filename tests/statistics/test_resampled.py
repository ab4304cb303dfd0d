"""The corrected resampled t test by its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.cross_validated import experiment
from src.statistics.crossed import crossed
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


def test_it_holds_where_training_texts_overlap_and_a_crossed_interval_does_not() -> None:
    """Of 300 cross-validations of equally good strategies, at least 95% are covered, within three standard errors; the
    crossed interval knows nothing of other training texts."""
    random = np.random.default_rng(23)
    drawn = [experiment(96, 5, 1, 5, random) for _ in range(300)]
    corrected = [found for _, runs, _ in drawn if (found := resampled(runs, 5)) is not None]
    over_texts = [found for table, _, _ in drawn if (found := crossed(table)) is not None]
    error = math.sqrt(0.95 * 0.05 / 300)
    assert np.mean([found.p() > 0.05 for found in corrected]) >= 0.95 - 3 * error
    assert np.mean([found.p() > 0.05 for found in over_texts]) < 0.95 - 3 * error
