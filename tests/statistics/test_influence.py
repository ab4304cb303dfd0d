"""Contributions against the scores themselves: their mean, what leaving a text out changes, and a bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from src.config.schema import Objective
from src.data.labels import LabelSpace
from src.modules.metrics import measure
from src.statistics.crossed import crossed
from src.statistics.influence import SCORES, contributions

OBJECTIVES = ("binary", "multiclass", "multilabel")
MEASURED = sorted(SCORES.keys() - {"loss"})


def drawn(objective: str, seed: int, texts: int = 250, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns probabilities, targets and predictions, some of the probabilities equal."""
    random = np.random.default_rng(seed)
    labels = 2 if objective == "binary" else 4
    if objective == "multilabel":
        targets = (random.random((texts, labels)) < [0.5, 0.3, 0.2, 0.1]).astype(np.int64)
        probs = 1 / (1 + np.exp(-(random.normal(size=targets.shape) + skill * (2 * targets - 1)))).round(2)
        return probs, targets, (probs >= 0.5).astype(np.int64)
    targets = random.choice(labels, texts, p=np.arange(1, labels + 1) / (labels * (labels + 1) / 2))
    logits = random.normal(size=(texts, labels)) + skill * np.eye(labels)[targets]
    probs = torch.tensor(logits).softmax(1).numpy().round(2)
    return probs, targets, probs.argmax(1)


def scores(objective: Objective, probs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    names = tuple(f"label {i}" for i in range(probs.shape[1]))
    space = LabelSpace(objective, names)
    wanted = torch.tensor(targets).float() if objective == "multilabel" else torch.tensor(targets)
    return measure(torch.tensor(probs), wanted, space)


def exists(metric: str, objective: str) -> bool:
    return objective == "multilabel" or metric not in ("subset_accuracy", "hamming")


CASES = [(m, o) for m in MEASURED for o in OBJECTIVES if exists(m, o)]


@pytest.mark.parametrize(("metric", "objective"), CASES)
def test_the_mean_of_the_contributions_is_the_score(metric: str, objective: str) -> None:
    probs, targets, predicted = drawn(objective, 1)
    found = contributions(metric, probs, targets, predicted, objective)
    assert found is not None
    assert found.mean() == pytest.approx(scores(objective, probs, targets)[metric], abs=1e-6)


@pytest.mark.parametrize(("metric", "objective"), CASES)
def test_leaving_a_text_out_changes_the_score_as_its_contribution_says(metric: str, objective: str) -> None:
    """Of n texts, leaving out text i changes the score by about -(contribution - score) / (n - 1)."""
    probs, targets, predicted = drawn(objective, 2)
    found, texts = contributions(metric, probs, targets, predicted, objective), len(probs)
    assert found is not None
    full = scores(objective, probs, targets)[metric]
    left = np.array(
        [scores(objective, np.delete(probs, i, 0), np.delete(targets, i, 0))[metric] for i in range(0, texts, 5)]
    )
    jackknife = (texts - 1) * (full - left)
    assert jackknife == pytest.approx((found - full)[::5], abs=0.05 * np.abs(found - full).max())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_labels_that_occur_nowhere_and_constant_predictions_are_as_in_the_scores(objective: str) -> None:
    probs, targets, _ = drawn(objective, 3, texts=40)
    if objective == "multilabel":
        targets[:, 3], probs[:, 3] = 0, 0.01
        targets[:, 2], probs[:, 2] = 1, 0.9
    else:
        probs[:, 0] = 2.0  # every text is predicted as the first label
    predicted = (probs >= 0.5).astype(np.int64) if objective == "multilabel" else probs.argmax(1)
    expected = scores(objective, probs, targets)
    for metric in MEASURED:
        if exists(metric, objective):
            found = contributions(metric, probs, targets, predicted, objective)
            assert found is not None
            assert found.mean() == pytest.approx(expected[metric], abs=1e-6), metric


def test_what_has_no_contributions_has_none() -> None:
    probs, targets, predicted = drawn("multiclass", 4)
    assert contributions("ece", probs, targets, predicted, "multiclass") is None
    assert contributions("hamming", probs, targets, predicted, "multiclass") is None
    assert contributions("unknown", probs, targets, predicted, "multiclass") is None
    one = np.zeros(len(targets), np.int64)
    assert contributions("auroc", probs[:, :2], one, one, "binary") is None


@pytest.mark.parametrize(
    ("metric", "objective"),
    [("f1_macro", "multiclass"), ("mcc", "binary"), ("auroc", "binary"), ("average_precision", "multilabel")],
)
def test_the_standard_error_is_that_of_a_bootstrap_over_seeds_and_texts(metric: str, objective: str) -> None:
    """Resampling seeds and texts independently has the variance (MS_S (S-1)/S + MS_T + MS_E (S-1)/S) / (S N), up to
    1/N: the residual counts three times (Owen 2007)."""
    texts, seeds = 200, 6
    random = np.random.default_rng(6)
    _, targets, _ = drawn(objective, 7, texts)
    models = [_models(objective, targets, random, skill) for skill in np.linspace(1.0, 1.6, seeds)]
    tables = [
        [contributions(metric, probs, targets, _predicted(probs, objective), objective) for probs in pair]
        for pair in models
    ]
    found = crossed(np.array([one - other for one, other in tables if one is not None and other is not None]))
    assert found is not None
    assert found.components is not None
    resampled = [_resampled(metric, objective, models, targets, random) for _ in range(300)]
    parts = found.components
    expected = ((parts.ms_seed + parts.ms_residual) * (seeds - 1) / seeds + parts.ms_unit) / (seeds * texts)
    assert np.std(resampled) == pytest.approx(math.sqrt(expected), rel=0.16)  # four standard errors of 300 resamples
    assert found.mean == pytest.approx(np.mean(resampled), abs=found.error)


def _models(objective: str, targets: np.ndarray, random: np.random.Generator, skill: float) -> list[np.ndarray]:
    """Returns the probabilities of two models of one seed."""
    wanted = targets if objective == "multilabel" else np.eye(2 if objective == "binary" else 4)[targets]
    logits = [random.normal(size=wanted.shape) + s * (2 * wanted - 1) for s in (skill, 1.0)]
    if objective == "multilabel":
        return [1 / (1 + np.exp(-x)) for x in logits]
    return [torch.tensor(x).softmax(1).numpy() for x in logits]


def _predicted(probs: np.ndarray, objective: str) -> np.ndarray:
    return (probs >= 0.5).astype(np.int64) if objective == "multilabel" else probs.argmax(1)


def _resampled(
    metric: str, objective: str, models: list[list[np.ndarray]], targets: np.ndarray, random: np.random.Generator
) -> float:
    rows = random.integers(len(targets), size=len(targets))

    def score(probs: np.ndarray) -> float:
        found = contributions(metric, probs[rows], targets[rows], _predicted(probs[rows], objective), objective)
        assert found is not None
        return float(found.mean())

    chosen = random.integers(len(models), size=len(models))
    return float(np.mean([score(models[seed][0]) - score(models[seed][1]) for seed in chosen]))
