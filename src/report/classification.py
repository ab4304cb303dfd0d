"""The output of a classifier: scores, predictions per example, the classification report, the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.metrics import precision_recall_fscore_support

from src.arrays import NDArray
from src.config.schema import RunConfig
from src.data.corpus import Corpus
from src.data.labels import LabelSpace
from src.data.split import Split
from src.data.texts import shown
from src.models import heads
from src.models.heads import probabilities
from src.modules.classification_report import report_text
from src.modules.classifier import Predictions, TextClassifier
from src.pages.figures import MOST
from src.report.calibration import calibrate
from src.report.outcome import Outcome, Shown
from src.report.plots import confusion
from src.report.predictions import as_lists, write_predictions
from src.report.thresholds import decision
from src.runs.folder import RunFolder

ERRORS = 20  # worst errors in TensorBoard
FEW = 10  # labels, of which the matrix says at a glance which are confused; and pairs that the terminal lists


# Scores without thresholds, beside those with them.
AT_HALF: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "f1_macro"),
    "multilabel": ("f1_macro", "f1_micro", "subset_accuracy"),
}


def conclude(module: TextClassifier, corpus: Corpus, folder: RunFolder, settings: RunConfig) -> Outcome:
    """Returns the outcome of a classifier after validating and testing its best weights; writes its predictions.

    Args:
        module: with the predictions of validation and test.
        corpus: the texts of these.
        folder: of the run.
        settings: of the run: how its logits become probabilities, and these labels.
    """
    space = corpus.space
    found: Mapping[str, Predictions] = module.predictions
    details, notes = dict[str, Any](), list[str]()
    if settings.calibration:
        calibrated = calibrate(found, space)
        found, details["calibration"] = calibrated.predictions, calibrated.described
        notes += [calibrated.note] if calibrated.note else []
    decided = decision(found["validation"], space, settings)
    thresholds = None if decided is None else decided.thresholds
    scores = {name: module.score(found[name], thresholds) for name in ("validation", "test")}
    if space.objective != "multilabel":
        details["majority"] = most_frequent = majority(corpus)
        said = f"Always predicting {most_frequent['label']}, the most frequent label in training"
        notes.append(f"{said}, has a test accuracy of {most_frequent['accuracy']:.3f}.")
    details["per_label"] = per_label(decide(found["test"], module, thresholds), found["test"], space)
    if decided is not None:
        details["thresholds"] = decided.described
        notes += [decided.note] if decided.note else []
        for name in scores:
            plain = module.score(found[name])
            scores[name] |= {f"{key}_at_half": plain[key] for key in AT_HALF[space.objective]}
    for name in ("validation", "test"):
        _write_predictions(folder, name, corpus.splits[name], found[name], module, thresholds)
    return Outcome(
        metrics=scores,
        details=details,
        headline=f"Test accuracy {scores['test']['accuracy']:.3f}, macro F1 {scores['test']['f1_macro']:.3f}",
        show=lambda: show(module, corpus.splits["test"], found["test"], thresholds),
        notes=notes,
    )


def majority(corpus: Corpus) -> dict[str, Any]:
    """Returns the most frequent label of the training texts, and its frequency in the test."""
    train, test = (corpus.splits[name].targets.astype(np.int64) for name in ("train", "test"))
    label = int(np.bincount(train).argmax())
    return {"label": corpus.space.names[label], "accuracy": float((test == label).mean())}


def per_label(predicted: NDArray[Any], found: Predictions, space: LabelSpace) -> dict[str, dict[str, float]]:
    """Returns precision, recall and F1 of each label, and how many examples have it.

    Args:
        predicted: from `decide`.
        found: the predictions of the same examples.
        space: the labels.
    """
    targets = found.targets.numpy().astype(np.int64)
    labels = np.arange(len(space.names))
    table = precision_recall_fscore_support(targets, predicted, labels=labels, average=None, zero_division=0)
    columns = np.stack(table, axis=1).tolist()
    scores = ("precision", "recall", "f1", "support")
    return {name: dict(zip(scores, row, strict=True)) for name, row in zip(space.names, columns, strict=True)}


def show(module: TextClassifier, split: Split, found: Predictions, thresholds: torch.Tensor | None) -> Shown:
    """Returns what presents the test results of a classifier.

    Args:
        module: the classifier.
        split: the test texts.
        found: its predictions for them.
        thresholds: as in `heads.decide`.
    """
    space, many = module.space, len(module.space.names) > MOST
    predicted, targets = decide(found, module, thresholds), found.targets.numpy().astype(np.int64)
    report = report_text(predicted, targets, space)
    title = "Test: true and predicted labels"
    confused = most_confused(predicted, targets, space) if len(space.names) > FEW and targets.ndim == 1 else ""
    return Shown(
        report=("classification_report.txt", report),
        figures={"confusion_matrix": lambda: confusion(predicted, targets, space, title)},
        summary=_summary(report, confused, space) if confused or many else None,
        tables={"most_confused.txt": confused} if confused else {},
        precision_recall=_precision_recall(found, space),
        errors=_worst(split, found, module, predicted),
    )


def decide(predictions: Predictions, module: TextClassifier, thresholds: torch.Tensor | None) -> NDArray[Any]:
    """Returns the predicted label indices, or 0 and 1 [examples, labels] for multi-label data."""
    objective = module.space.objective
    return np.asarray(heads.decide(probabilities(predictions.logits, objective), objective, thresholds).numpy())


def _summary(report: str, confused: str, space: LabelSpace) -> str:
    """Returns what the terminal shows of many labels: of more than MOST no lines of labels, and the first of the pairs
    that are confused most."""
    if len(space.names) > MOST:
        header, averages = report.partition("\n")[0], report.rpartition("\n\n")[2]
        report = f"{header}\n\n{averages}\nThe file has one line per label ({len(space.names):,}).\n"
    if not confused:
        return report
    header, _, *pairs = confused.splitlines()
    return "\n".join([report, "Most often confused:", header, *pairs[:FEW], ""])


def most_confused(predicted: NDArray[np.int64], targets: NDArray[np.int64], space: LabelSpace) -> str:
    """Returns the most frequent pairs of a true label and a wrong prediction, with the frequency of the true label.

    Args:
        predicted: [examples] label indices.
        targets: [examples] label indices.
        space: the labels.
    """
    wrong = predicted != targets
    pairs, counts = np.unique(np.stack([targets[wrong], predicted[wrong]]), axis=1, return_counts=True)
    support = np.bincount(targets, minlength=len(space.names))
    lines = ["  rows       of  true label, predicted label", ""]
    for index in np.argsort(-counts, kind="stable")[:MOST]:
        true, wrong_label = pairs[:, index].tolist()
        lines.append(f"{counts[index]:>6,} {support[true]:>8,}  {space.names[true]}, {space.names[wrong_label]}")
    return "\n".join(lines) + "\n"


def _precision_recall(predictions: Predictions, space: LabelSpace) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Returns targets and probabilities by label: of binary data for the positive label, of more than MOST labels for
    the most frequent ones."""
    probs, targets = probabilities(predictions.logits, space.objective), predictions.targets
    labels = len(space.names)
    support = targets.sum(0) if targets.ndim == 2 else torch.bincount(targets.long(), minlength=labels)
    shown = [1] if space.objective == "binary" else sorted(np.argsort(-support.numpy(), kind="stable")[:MOST].tolist())
    true = {i: targets[:, i] if targets.ndim == 2 else targets == i for i in shown}
    return {space.names[i]: (true[i].numpy().astype(int), probs[:, i].numpy()) for i in shown}


def _worst(
    split: Split, predictions: Predictions, module: TextClassifier, predicted: NDArray[Any]
) -> list[dict[str, str]]:
    """Returns the wrongly labelled test texts with the highest loss."""
    losses = module.losses(predictions.logits.to(module.device), predictions.targets.to(module.device)).cpu().numpy()
    true, space = predictions.targets.numpy(), module.space
    wrong = (predicted != true).reshape(len(predicted), -1).any(1)
    rows = [row for row in np.argsort(-losses, kind="stable") if wrong[row]][:ERRORS]
    return [
        {
            "row": str(split.rows[row]),
            "text": shown(split.texts[row]),
            "true": ", ".join(_names(true[row], space)),
            "predicted": ", ".join(_names(predicted[row], space)),
            "loss": f"{losses[row]:.2f}",
        }
        for row in rows
    ]


def _names(labels: NDArray[Any], space: LabelSpace) -> list[str]:
    """Returns the names of a label index, or of a vector of 0 and 1."""
    indices = [int(labels)] if np.ndim(labels) == 0 else np.flatnonzero(labels)
    return [space.names[index] for index in indices]


def _write_predictions(
    folder: RunFolder,
    name: str,
    split: Split,
    predictions: Predictions,
    module: TextClassifier,
    thresholds: torch.Tensor | None,
) -> None:
    def named(labels: NDArray[Any]) -> list[Any]:
        names = [_names(row, module.space) for row in labels]
        return names if labels.ndim == 2 else [name for (name,) in names]

    columns = {
        "true": named(predictions.targets.numpy()),
        "predicted": named(decide(predictions, module, thresholds)),
        "probabilities": as_lists(probabilities(predictions.logits, module.space.objective).double().numpy()),
    }
    write_predictions(folder, name, split, columns)
