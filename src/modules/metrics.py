"""What is measured, per objective. Functions of all predictions of a split at once, so that batches and processes never
change a score."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.functional import classification as tm

from src.data.labels import LabelSpace

BINS = 15  # of the calibration error (Guo et al. 2017)


def measure(
    probs: Float[Tensor, "rows labels"],
    targets: Int[Tensor, " rows"] | Float[Tensor, "rows labels"],
    space: LabelSpace,
    thresholds: Float[Tensor, " labels"] | None = None,
) -> dict[str, float]:
    """All scores of a split.

    Args:
        probs: from `heads.probabilities`.
        targets: label indices, or 0 and 1 per label.
        space: the labels.
        thresholds: multi-label only: the probability from which a label counts as predicted; 0.5 unless given.

    Averages over labels leave out labels for which a score has no meaning: macro averages need a row that has the label
    or is said to have it, area scores need rows with the label and rows without it.
    """
    if space.objective == "multilabel":
        limits = torch.full((len(space.names),), 0.5) if thresholds is None else thresholds
        return _measure_multilabel(probs, targets.long(), probs >= limits)
    targets = targets.long()
    classes = len(space.names)

    def score(function: Callable[..., Tensor], average: str) -> float:
        return float(function(probs, targets, num_classes=classes, average=average))

    def macro(function: Callable[..., Tensor]) -> float:
        return _mean(function(probs, targets, num_classes=classes, average="none"), given)

    one_hot = torch.nn.functional.one_hot(targets, classes)
    given = occurring(probs.argmax(1), targets, classes)
    # A binary task has one score, of the positive label; with more labels it is the mean over them.
    columns = slice(1, 2) if space.objective == "binary" else slice(None)
    return {
        "accuracy": score(tm.multiclass_accuracy, "micro"),
        "f1_macro": macro(tm.multiclass_f1_score),
        "f1_micro": score(tm.multiclass_f1_score, "micro"),
        "f1_weighted": score(tm.multiclass_f1_score, "weighted"),
        "precision_macro": macro(tm.multiclass_precision),
        "recall_macro": macro(tm.multiclass_recall),
        **_areas(probs[:, columns], one_hot[:, columns]),
        "mcc": _matthews(
            tm.multiclass_matthews_corrcoef(probs, targets, num_classes=classes), probs.argmax(1), targets
        ),
        "ece": float(tm.multiclass_calibration_error(probs, targets, num_classes=classes, n_bins=BINS)),
    }


def _measure_multilabel(
    probs: Float[Tensor, "rows labels"], targets: Int[Tensor, "rows labels"], predicted: Bool[Tensor, "rows labels"]
) -> dict[str, float]:
    labels = probs.shape[1]
    hard = predicted.long()

    def score(function: Callable[..., Tensor], average: str) -> float:
        return float(function(hard, targets, num_labels=labels, average=average))

    def macro(function: Callable[..., Tensor]) -> float:
        return _mean(function(hard, targets, num_labels=labels, average="none"), occurring(hard, targets, labels))

    hamming = float((hard != targets).float().mean())
    return {
        "accuracy": 1 - hamming,
        "f1_macro": macro(tm.multilabel_f1_score),
        "f1_micro": score(tm.multilabel_f1_score, "micro"),
        "f1_weighted": score(tm.multilabel_f1_score, "weighted"),
        "precision_macro": macro(tm.multilabel_precision),
        "recall_macro": macro(tm.multilabel_recall),
        **_areas(probs, targets),
        "mcc": _matthews(tm.multilabel_matthews_corrcoef(hard, targets, num_labels=labels), hard, targets),
        "ece": float(tm.binary_calibration_error(probs.flatten(), targets.flatten(), n_bins=BINS)),
        "subset_accuracy": float((hard == targets).all(1).float().mean()),
        "hamming": hamming,
    }


def occurring(
    predicted: Int[Tensor, "rows ..."], targets: Int[Tensor, "rows ..."], labels: int
) -> Bool[Tensor, " labels"]:
    """Which labels some row has, or is said to have: macro averages are over these, as scikit-learn's of single labels
    are. The others have no precision, recall or F1.

    Args:
        predicted: label indices, or 0 and 1 per label.
        targets: likewise.
        labels: how many there are.
    """
    sides = (predicted, targets)
    counts = [side.sum(0) if side.ndim == 2 else torch.bincount(side, minlength=labels) for side in sides]
    return (counts[0] + counts[1]) > 0


def _mean(scores: Float[Tensor, " labels"], given: Bool[Tensor, " labels"]) -> float:
    return float(scores[given].mean()) if given.any() else 0.0


def masked_sums(
    logits: Float[Tensor, "masked vocabulary"], targets: Int[Tensor, " masked"], loss: Float[Tensor, ""]
) -> Float[Tensor, "1 4"]:
    """What a batch adds to the scores of masked language modelling: loss, right at first, right among five, tokens."""
    if not len(targets):
        return torch.zeros(1, 4, device=loss.device)
    # How many tokens are likelier than the right one; quicker than sorting a vocabulary.
    rank = (logits > logits.gather(1, targets[:, None])).sum(1)
    return torch.stack([loss, (rank == 0).sum(), (rank < 5).sum(), loss.new_tensor(len(targets))])[None].float()


def measure_masked(sums: Float[Tensor, "batches 4"]) -> dict[str, float]:
    """The mean loss of a masked token in nats, its exponential, and how often the right token was the likeliest, or one
    of the five likeliest."""
    loss, first, among_five, count = sums.double().sum(0).tolist()
    mean = loss / max(1.0, count)
    scores = {"perplexity": math.exp(min(mean, 700.0)), "accuracy": first / max(1.0, count)}
    return {"loss": mean, **scores, "accuracy_top5": among_five / max(1.0, count)}


def _areas(probs: Float[Tensor, "rows labels"], targets: Int[Tensor, "rows labels"]) -> dict[str, float]:
    usable = (targets.sum(0) > 0) & (targets.sum(0) < len(targets))
    if not usable.any():
        return {"auroc": float("nan"), "average_precision": float("nan")}
    columns = [(probs[:, i], targets[:, i]) for i in usable.nonzero().flatten().tolist()]
    return {
        "auroc": sum(float(tm.binary_auroc(p, t)) for p, t in columns) / len(columns),
        "average_precision": sum(float(tm.binary_average_precision(p, t)) for p, t in columns) / len(columns),
    }


def _matthews(score: Tensor, *sides: Tensor) -> float:
    """0 where the labels or the predictions are all the same, as in scikit-learn; torchmetrics has some other value
    there, which looks like a finding."""
    return 0.0 if any(side.min() == side.max() for side in sides) else float(score)


def tune_thresholds(
    probs: Float[Tensor, "rows labels"], targets: Float[Tensor, "rows labels"]
) -> Float[Tensor, " labels"]:
    """For each label the threshold with the highest F1 on these rows; 0.5 for labels that none of them has.

    The threshold lies halfway to the next lower probability, so that it does not hang on one row.
    """
    best = torch.full((probs.shape[1],), 0.5)
    for label in range(probs.shape[1]):
        if targets[:, label].sum() == 0:
            continue
        ordered, order = probs[:, label].sort(descending=True, stable=True)
        hits = targets[order, label].cumsum(0)
        f1 = 2 * hits / (torch.arange(1, len(ordered) + 1) + targets[:, label].sum())
        # Rows of equal probability are all in or all out.
        following = torch.cat([ordered[1:], ordered.new_zeros(1)])
        f1[ordered == following] = -1
        place = int(f1.argmax())
        best[label] = (ordered[place] + following[place]) / 2
    return best
