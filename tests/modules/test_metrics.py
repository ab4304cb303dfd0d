"""Scores against scikit-learn, and what they do at the edges."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics as sk

from src.data.labels import LabelSpace
from src.models.heads import probabilities
from src.modules import metrics
from src.modules.classification_report import report_text

BINARY = LabelSpace("binary", ("no", "yes"))
THREE = LabelSpace("multiclass", ("a", "b", "c"))
LABELS = LabelSpace("multilabel", ("x", "y", "z"))


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("space", [BINARY, THREE])
def test_single_label_scores_equal_scikit_learns(space: LabelSpace, random: torch.Generator) -> None:
    classes = len(space.names)
    targets = torch.randint(classes, (200,), generator=random)
    logits = (
        torch.randn(200, space.outputs, generator=random)
        + 0.5 * torch.nn.functional.one_hot(targets)[:, -space.outputs :]
    )
    probs = probabilities(logits, space.objective)
    torch.testing.assert_close(probs.sum(1), torch.ones(200))
    found = metrics.measure(probs, targets, space)
    guess, area = probs.argmax(1), probs[:, 1] if classes == 2 else probs
    wanted = {
        "accuracy": sk.accuracy_score(targets, guess),
        "f1_macro": sk.f1_score(targets, guess, average="macro"),
        "f1_micro": sk.f1_score(targets, guess, average="micro"),
        "f1_weighted": sk.f1_score(targets, guess, average="weighted"),
        "precision_macro": sk.precision_score(targets, guess, average="macro"),
        "recall_macro": sk.recall_score(targets, guess, average="macro"),
        "auroc": sk.roc_auc_score(targets, area, multi_class="ovr"),
        "average_precision": sk.average_precision_score(targets, area),
        "mcc": sk.matthews_corrcoef(targets, guess),
    }
    assert {k: v for k, v in found.items() if k != "ece"} == pytest.approx(wanted, abs=1e-5)
    assert tuple(found) == space.scores


@pytest.mark.parametrize("side", ["labels", "predictions"])
def test_labels_that_are_all_the_same_correlate_with_nothing(side: str) -> None:
    one, mixed = torch.zeros(20, dtype=torch.long), torch.tensor([0, 1, 1, 0, 1] * 4)
    targets, guess = (one, mixed) if side == "labels" else (mixed, one)
    probs = torch.nn.functional.one_hot(guess, 2) * 0.8 + 0.1
    assert metrics.measure(probs, targets, BINARY)["mcc"] == sk.matthews_corrcoef(targets, guess) == 0
    several = probs[:, 1:].repeat(1, 3)
    found = metrics.measure(several, targets[:, None].repeat(1, 3).float(), LABELS, torch.full((3,), 0.5))
    assert found["mcc"] == 0


def test_multilabel_scores_equal_scikit_learns(random: torch.Generator) -> None:
    targets = torch.randint(2, (200, 3), generator=random)
    probs = torch.rand(200, 3, generator=random)
    thresholds = torch.tensor([0.3, 0.5, 0.8])
    guess = probs >= thresholds
    found = metrics.measure(probs, targets.float(), LABELS, thresholds)
    wanted = {
        "accuracy": float((guess == targets).float().mean()),
        "f1_macro": sk.f1_score(targets, guess, average="macro"),
        "f1_micro": sk.f1_score(targets, guess, average="micro"),
        "precision_macro": sk.precision_score(targets, guess, average="macro"),
        "auroc": sk.roc_auc_score(targets, probs),
        "average_precision": sk.average_precision_score(targets, probs),
        "subset_accuracy": sk.accuracy_score(targets.numpy(), guess.numpy()),
        "hamming": sk.hamming_loss(targets, guess),
    }
    assert {k: found[k] for k in wanted} == pytest.approx(wanted, abs=1e-5)
    assert tuple(found) == LABELS.scores


@pytest.mark.parametrize("space", [BINARY, THREE, LABELS])
def test_macro_averages_are_those_of_the_report_where_labels_are_missing(
    space: LabelSpace, random: torch.Generator
) -> None:
    present = len(space.names) - 1  # no row has the last label, and none is said to have it
    if space.objective == "multilabel":
        probs = torch.rand(40, 3, generator=random) * torch.tensor([1.0, 1.0, 0.1])
        targets = torch.randint(2, (40, 3), generator=random).float() * torch.tensor([1.0, 1.0, 0.0])
        guess: torch.Tensor = (probs >= 0.5).long()
        options = {"labels": [0, 1]}
    else:
        probs = torch.rand(40, present, generator=random).softmax(1) @ torch.eye(present, len(space.names))
        targets = torch.randint(present, (40,), generator=random)
        guess, options = probs.argmax(1), {}  # what scikit-learn itself leaves out
    found = metrics.measure(probs, targets, space)
    wanted = [
        sk.precision_score(targets, guess, average="macro", **options),
        sk.recall_score(targets, guess, average="macro", **options),
        sk.f1_score(targets, guess, average="macro", **options),
    ]
    scores = [found[f"{name}_macro"] for name in ("precision", "recall", "f1")]
    assert scores == pytest.approx(wanted, abs=1e-6)
    report = report_text(guess.numpy(), targets.long().numpy(), space)
    line = next(line for line in report.splitlines() if line.strip().startswith("macro avg"))
    assert [float(value) for value in line.split()[2:5]] == pytest.approx(scores, abs=5.1e-4)
    assert report.strip().endswith(f"which leaves out: {space.names[-1]}")
    exact = torch.nn.functional.one_hot(targets, len(space.names)).float() if targets.ndim == 1 else targets
    assert metrics.measure(exact, targets, space)["f1_macro"] == 1


def test_where_no_label_occurs_at_all_macro_averages_are_zero() -> None:
    nothing = torch.zeros(4, 3)
    assert metrics.measure(nothing, nothing, LABELS)["f1_macro"] == 0
    assert "macro avg" in report_text(nothing.long().numpy(), nothing.long().numpy(), LABELS)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probs = torch.tensor([[0.2, 0.8]] * 10)
    targets = torch.tensor([1] * 5 + [0] * 5)
    assert metrics.measure(probs, targets, BINARY)["ece"] == pytest.approx(0.3, abs=1e-6)


def test_area_scores_leave_out_labels_without_both_kinds_of_rows() -> None:
    probs = torch.tensor([[0.9, 0.5, 0.5], [0.1, 0.5, 0.5]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert metrics.measure(probs, targets, LABELS)["auroc"] == 1.0
    assert math.isnan(metrics.measure(probs, torch.zeros(2, 3), LABELS)["auroc"])


def test_areas_count_equal_probabilities_as_scikit_learn_does(random: torch.Generator) -> None:
    probs = torch.rand(300, 77, generator=random).round(decimals=1)
    targets = (torch.rand(300, 77, generator=random) < 0.1 + 0.5 * probs).float()
    found = metrics.measure(probs, targets, LabelSpace("multilabel", [str(label) for label in range(77)]))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(targets, probs))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(targets, probs))
