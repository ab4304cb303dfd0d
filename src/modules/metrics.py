"""Scores per objective, computed from all predictions of a split at once, so that they do not depend on batches and
processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics.functional import classification as tm
from torchmetrics.functional import regression

from src.arrays import NDArray
from src.data.labels import LABEL_F1, LabelSpace
from src.models.heads import decide

BINS = 15  # of the calibration error (Guo et al. 2017)


def measure(
    probs: Float[Tensor, "rows labels"],
    targets: Int[Tensor, " rows"] | Float[Tensor, "rows labels"],
    space: LabelSpace,
    thresholds: Float[Tensor, " decided"] | None = None,
    watched: Sequence[str] = (),
) -> dict[str, float]:
    """Returns all scores of a split.

    Args:
        probs: from `heads.probabilities`; in regression the predicted numbers.
        targets: label indices, 0 and 1 per label, or numbers.
        space: the labels.
        thresholds: as in `heads.decide`.
        watched: labels whose F1 is a score too.

    Averages over labels leave out labels without a defined score: macro averages need an example with the label or
    predicted to have it; AUROC and average precision need examples with the label and without it.
    """
    if space.is_regression:
        return measure_numbers(probs, targets.float())
    predicted = decide(probs, space.objective, thresholds)
    if space.objective == "multilabel":
        found = _measure_multilabel(probs, targets.long(), predicted)
    else:
        found = _measure_single(probs, targets.long(), predicted, space)
    places = {name: space.names.index(name) for name in watched}
    return found | {LABEL_F1 + name: label_f1(predicted, targets.long(), at) for name, at in places.items()}


def _measure_single(
    probs: Float[Tensor, "rows labels"],
    targets: Int[Tensor, " rows"],
    predicted: Int[Tensor, " rows"],
    space: LabelSpace,
) -> dict[str, float]:
    classes = len(space.names)
    one_hot = torch.nn.functional.one_hot(targets, classes)
    # Binary: the score of the positive label; otherwise: the mean over the labels.
    columns = slice(1, 2) if space.objective == "binary" else slice(None)
    sides: dict[str, Any] = {"preds": predicted, "target": targets, "num_classes": classes}
    given = occurring(predicted, targets, classes)
    return {
        "accuracy": float(tm.multiclass_accuracy(**sides, average="micro")),
        **_averages(tm.multiclass_f1_score, tm.multiclass_precision, tm.multiclass_recall, sides, given),
        **_areas(probs[:, columns], one_hot[:, columns]),
        "mcc": _matthews(tm.multiclass_matthews_corrcoef(**sides), predicted, targets),
        "ece": calibration_error(probs, targets),
    }


def _averages(
    f1: Callable[..., Tensor],
    precision: Callable[..., Tensor],
    recall: Callable[..., Tensor],
    sides: dict[str, Any],
    given: Bool[Tensor, " labels"],
) -> dict[str, float]:
    """Returns F1 in its three averages, and precision and recall averaged over labels.

    Args:
        f1: torchmetrics' function for the task.
        precision: likewise.
        recall: likewise.
        sides: what these compare, by the names of their arguments, and the number of labels.
        given: which labels count in averages over labels.
    """
    return {
        "f1_macro": _mean(f1(**sides, average="none"), given),
        "f1_micro": float(f1(**sides, average="micro")),
        "f1_weighted": float(f1(**sides, average="weighted")),
        "precision_macro": _mean(precision(**sides, average="none"), given),
        "recall_macro": _mean(recall(**sides, average="none"), given),
    }


def calibration_error(
    probs: Float[Tensor, "rows labels"], targets: Int[Tensor, " rows"] | Int[Tensor, "rows labels"]
) -> float:
    """Returns the expected calibration error: of the most probable label, or over all probabilities of a multi-label
    task.

    Args:
        probs: from `heads.probabilities`.
        targets: label indices, or 0 and 1 per label.
    """
    if targets.ndim == 2:
        return float(tm.binary_calibration_error(probs.flatten(), targets.flatten(), n_bins=BINS))
    return float(tm.multiclass_calibration_error(probs, targets, num_classes=probs.shape[1], n_bins=BINS))


def _measure_multilabel(
    probs: Float[Tensor, "rows labels"], targets: Int[Tensor, "rows labels"], hard: Int[Tensor, "rows labels"]
) -> dict[str, float]:
    labels = probs.shape[1]
    sides: dict[str, Any] = {"preds": hard, "target": targets, "num_labels": labels}
    given = occurring(hard, targets, labels)
    hamming = float((hard != targets).float().mean())
    return {
        "accuracy": 1 - hamming,
        **_averages(tm.multilabel_f1_score, tm.multilabel_precision, tm.multilabel_recall, sides, given),
        **_areas(probs, targets),
        "mcc": _matthews(tm.multilabel_matthews_corrcoef(**sides), hard, targets),
        "ece": calibration_error(probs, targets),
        "subset_accuracy": float((hard == targets).all(1).float().mean()),
        "hamming": hamming,
    }


def measure_numbers(
    predicted: Float[Tensor, "rows targets"], targets: Float[Tensor, "rows targets"]
) -> dict[str, float]:
    """Returns the scores of a regression; of several targets, their means. Correlations with predictions that are all
    the same are 0; without different targets, correlations and R² are not defined (NaN)."""
    # In double precision: differences of large numbers, such as years, would lose digits.
    columns = list(zip(predicted.double().T, targets.double().T, strict=True))

    def mean(score: Callable[[Tensor, Tensor], Tensor]) -> float:
        return sum(float(score(said, true)) for said, true in columns) / len(columns)

    return {
        "pearson": mean(_correlation(regression.pearson_corrcoef)),
        "spearman": mean(_correlation(regression.spearman_corrcoef)),
        "r2": mean(_determination),
        "mae": mean(regression.mean_absolute_error),
        "rmse": mean(lambda said, true: regression.mean_squared_error(said, true, squared=False)),
    }


def _correlation(score: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def found(said: Tensor, true: Tensor) -> Tensor:
        if not _differ(true):
            return _undefined(true)
        # The scale changes nothing, but torchmetrics takes small variances for none.
        return score(_scaled(said), _scaled(true)) if _differ(said) else torch.zeros(())

    return found


def _determination(said: Tensor, true: Tensor) -> Tensor:
    if not _differ(true):
        return _undefined(true)
    # Here too: torchmetrics takes small errors for none, of any numbers.
    return regression.r2_score((said - true.mean()) / true.std(), _scaled(true))


def _scaled(numbers: Tensor) -> Tensor:
    return (numbers - numbers.mean()) / numbers.std()


def _differ(numbers: Tensor) -> bool:
    return bool(numbers.min() < numbers.max())


def _undefined(numbers: Tensor) -> Tensor:
    return numbers.new_tensor(float("nan"))


def occurring(
    predicted: Int[Tensor, "rows ..."], targets: Int[Tensor, "rows ..."], labels: int
) -> Bool[Tensor, " labels"]:
    """Returns which labels occur in targets or predictions. Macro averages are over these, as in scikit-learn; the
    others have no precision, recall or F1.

    Args:
        predicted: label indices, or 0 and 1 per label.
        targets: likewise.
        labels: the number of labels.
    """
    sides = (predicted, targets)
    counts = [side.sum(0) if side.ndim == 2 else torch.bincount(side, minlength=labels) for side in sides]
    return (counts[0] + counts[1]) > 0


def label_f1(predicted: Int[Tensor, "rows ..."], targets: Int[Tensor, "rows ..."], label: int) -> float:
    """Returns the F1 of one label; 0 where it neither occurs nor is predicted.

    Args:
        predicted: label indices, or 0 and 1 per label.
        targets: likewise.
        label: its index.
    """
    said, true = (side[:, label] == 1 if side.ndim == 2 else side == label for side in (predicted, targets))
    return float(2 * (said & true).sum() / (said.sum() + true.sum()).clamp(min=1))


def _mean(scores: Float[Tensor, " labels"], given: Bool[Tensor, " labels"]) -> float:
    return float(scores[given].mean()) if given.any() else 0.0


def masked_sums(
    logits: Float[Tensor, "masked vocabulary"], targets: Int[Tensor, " masked"], loss: Float[Tensor, ""]
) -> Float[Tensor, "1 4"]:
    """Returns the sums over a batch of masked tokens: loss, correct top-1, correct top-5, number of tokens."""
    if not len(targets):
        return torch.zeros(1, 4, device=loss.device)
    # The number of tokens with a higher logit than the target; faster than sorting the vocabulary.
    rank = (logits > logits.gather(1, targets[:, None])).sum(1)
    return torch.stack([loss, (rank == 0).sum(), (rank < 5).sum(), loss.new_tensor(len(targets))])[None].float()


def measure_masked(sums: Float[Tensor, "batches 4"]) -> dict[str, float]:
    """Returns the mean loss per masked token in nats, the perplexity, and the top-1 and top-5 accuracy."""
    loss, first, among_five, count = sums.double().sum(0).tolist()
    mean = loss / max(1.0, count)
    scores = {"perplexity": math.exp(min(mean, 700.0)), "accuracy": first / max(1.0, count)}
    return {"loss": mean, **scores, "accuracy_top5": among_five / max(1.0, count)}


def _areas(probs: Float[Tensor, "rows labels"], targets: Int[Tensor, "rows labels"]) -> dict[str, float]:
    """Returns the means over the labels of the areas under the ROC curve and of the average precisions.

    All labels at once, since 77 of them one after the other take longer than an epoch of a frozen run. AUROC is the
    Mann-Whitney statistic, the average precision the mean of the precision down to each row that has the label; rows of
    equal probability count as in scikit-learn.
    """
    usable = (targets.sum(0) > 0) & (targets.sum(0) < len(targets))
    if not usable.any():
        return {"auroc": float("nan"), "average_precision": float("nan")}
    scores, hits = probs[:, usable].numpy(), targets[:, usable].double().numpy()
    order = np.argsort(-scores, axis=0)
    scores, hits = (np.take_along_axis(side, order, axis=0) for side in (scores, hits))
    first, last = _ties(scores)
    positive, rows = hits.sum(0), len(hits)
    ranks = rows - (first + last) / 2
    auroc = ((ranks * hits).sum(0) - positive * (positive + 1) / 2) / (positive * (rows - positive))
    precision = np.take_along_axis(hits.cumsum(0), last, axis=0) / (last + 1)
    return {"auroc": float(auroc.mean()), "average_precision": float(((precision * hits).sum(0) / positive).mean())}


def _ties(ordered: Float[NDArray[np.floating], "rows labels"]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns int64 [rows, labels] twice: the first and the last row with the same value, in ordered columns."""
    rows = np.arange(len(ordered))[:, None]
    other = ordered[1:] != ordered[:-1]
    end = np.ones_like(ordered[:1], dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([end, other]), rows, 0), axis=0)
    last = np.minimum.accumulate(np.where(np.concatenate([other, end]), rows, len(rows))[::-1], axis=0)[::-1]
    return first, last


def _matthews(score: Tensor, *sides: Tensor) -> float:
    """Returns 0 if all labels or all predictions are the same, as in scikit-learn; torchmetrics returns another value,
    which would be misleading."""
    return 0.0 if any(side.min() == side.max() for side in sides) else float(score)
