"""Contributions to scores of numbers against the scores themselves, and against what a heavier text changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from src.arrays import NDArray
from src.modules.metrics import measure_numbers
from src.statistics.number_influence import SCORES, contributions

Values = NDArray[np.float64]


def drawn(texts: int = 80) -> tuple[Values, Values]:
    """Returns predictions and targets; some of each are equal."""
    random = np.random.default_rng(0)
    targets = random.normal(5, 2, (texts, 2)).round(1)
    return (targets + random.normal(size=targets.shape)).round(1), targets


@pytest.mark.parametrize("metric", SCORES)
def test_the_mean_of_the_contributions_is_the_score(metric: str) -> None:
    said, true = drawn()
    found = contributions(metric, said, true)
    assert found is not None
    assert found.mean() == pytest.approx(measure_numbers(torch.tensor(said), torch.tensor(true))[metric], abs=1e-6)


def pearson(said: Values, true: Values, weight: Values) -> float:
    one, other = said - weight @ said, true - weight @ true
    return float(weight @ (one * other) / np.sqrt((weight @ one**2) * (weight @ other**2)))


def spearman(said: Values, true: Values, weight: Values) -> float:
    def ranks(side: Values) -> Values:
        return np.array([weight[side < value].sum() + weight[side == value].sum() / 2 for value in side])

    return pearson(ranks(said), ranks(true), weight)


WEIGHTED: dict[str, Callable[[Values, Values, Values], float]] = {
    "pearson": pearson,
    "spearman": spearman,
    "r2": lambda said, true, weight: float(1 - weight @ (said - true) ** 2 / (weight @ (true - weight @ true) ** 2)),
    "mae": lambda said, true, weight: float(weight @ abs(said - true)),
    "rmse": lambda said, true, weight: float(np.sqrt(weight @ (said - true) ** 2)),
}


@pytest.mark.parametrize("metric", WEIGHTED)
def test_a_contribution_is_what_more_weight_of_a_text_changes(metric: str) -> None:
    (said, true), score = drawn(), WEIGHTED[metric]
    found = contributions(metric, said[:, :1], true[:, :1])
    even, little = np.full(len(said), 1 / len(said)), 1e-6
    before = score(said[:, 0], true[:, 0], even)
    assert found is not None
    for text in range(0, len(said), 7):
        weight = even * (1 - little)
        weight[text] += little
        change = (score(said[:, 0], true[:, 0], weight) - before) / little
        assert found[text] == pytest.approx(before + change, abs=1e-3)


def test_scores_that_do_not_exist() -> None:
    said, true = drawn()
    same = np.full_like(true, 3.0)
    for metric in ("pearson", "spearman", "r2"):
        assert contributions(metric, said, same) is None
    for metric in ("pearson", "spearman"):
        assert (contributions(metric, same, true) == 0).all()
    assert contributions("accuracy", said, true) is None
