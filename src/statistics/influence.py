"""What each text contributes to a score.

A score is a function of the empirical distribution of the texts. The contribution of a text is the score plus the
derivative of the score in the weight of the text (infinitesimal jackknife; Jaeckel 1972, Efron 1982), so the mean of
all contributions is the score, and their spread is that which other texts would give it. For accuracy it is whether the
text is predicted correctly. Differences of contributions are what `crossed` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from src.arrays import NDArray
from src.statistics.areas import average_precision, roc_area

PerText = Float[NDArray[np.float64], " texts"]


PerLabel = Float[NDArray[np.float64], "texts labels"]


@dataclass(frozen=True)
class Predictions:
    """The predictions of one model, as 0 and 1 per text and label, also where each text has one label.

    Args:
        probs: probabilities of the labels.
        targets: 1 where a text has the label.
        predicted: 1 where it is predicted to have it.
        objective: binary, multiclass or multilabel.
    """

    probs: Float[NDArray[np.floating], "texts labels"]
    targets: PerLabel
    predicted: PerLabel
    objective: str

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.objective == "multilabel"

    @property
    def agreement(self) -> PerText:
        """Whether a text is predicted correctly; with several labels: the fraction of its labels."""
        if self.several:
            return np.asarray((self.targets == self.predicted).mean(1))
        return np.asarray((self.targets * self.predicted).sum(1))

    @property
    def occurring(self) -> Bool[NDArray[np.bool_], " labels"]:
        """Which labels occur in targets or predictions; macro averages are over these."""
        return np.asarray((self.targets + self.predicted).any(0))


def contributions(
    metric: str,
    probs: Float[NDArray[np.floating], "texts labels"],
    targets: Int[NDArray[np.integer], "texts ..."],
    predicted: Int[NDArray[np.integer], "texts ..."] | Bool[NDArray[np.bool_], "texts ..."],
    objective: str,
) -> PerText | None:
    """Returns the contribution of each text; their mean is the score.

    None where a score is not smooth in the weights of the texts (calibration error), does not exist for these texts
    (areas where no label has texts with it and without it), or is not known.

    Args:
        metric: the name of a test score.
        probs: probabilities of the labels.
        targets: label indices, or 0 and 1 per label.
        predicted: likewise.
        objective: binary, multiclass or multilabel.
    """
    score = SCORES.get(metric)
    if score is None or (metric in OF_SEVERAL and objective != "multilabel"):
        return None
    labels = probs.shape[1]
    return score(Predictions(probs, _indicators(targets, labels), _indicators(predicted, labels), objective))


def _indicators(side: NDArray[np.integer] | NDArray[np.bool_], labels: int) -> PerLabel:
    return np.asarray(side if side.ndim == 2 else np.eye(labels)[side], dtype=np.float64)


def _ratio(above: PerLabel, below: PerLabel) -> PerLabel:
    """Returns the contributions to mean(above) / mean(below) of each column; 0 for a column without any below."""
    total = below.mean(0)
    safe = np.where(total > 0, total, 1.0)
    score = np.where(total > 0, above.mean(0) / safe, 0.0)
    return np.asarray(score + (above - score * below) / safe)


def _f1(found: Predictions) -> PerLabel:
    return _ratio(2 * found.targets * found.predicted, found.targets + found.predicted)


def _macro(per_label: PerLabel, found: Predictions) -> PerText:
    given = found.occurring
    return np.asarray(per_label[:, given].mean(1) if given.any() else np.zeros(len(per_label)))


def _f1_micro(found: Predictions) -> PerText:
    hits, sums = 2 * found.targets * found.predicted, found.targets + found.predicted
    return _ratio(hits.sum(1, keepdims=True), sums.sum(1, keepdims=True))[:, 0]


def _f1_weighted(found: Predictions) -> PerText:
    """The weights are the fractions of the labels, which depend on the texts too."""
    sums = found.targets.sum(1, keepdims=True).repeat(found.targets.shape[1], 1)
    per_label, weights = _f1(found), _ratio(found.targets, sums)
    f1, weight = per_label.mean(0), weights.mean(0)
    return np.asarray(per_label @ weight + (weights - weight) @ f1)


def _matthews(found: Predictions) -> PerText:
    """Gorodkin's correlation (2004). With several labels it is that of all text-label pairs, so a text counts by its
    fraction of labels."""
    targets, predicted = (_two_classes(s) if found.several else s for s in (found.targets, found.predicted))
    agreement, t, p = found.agreement, targets.mean(0), predicted.mean(0)
    spreads = (1 - t @ t) * (1 - p @ p)
    if spreads <= 0:
        return np.zeros(len(agreement))
    above = agreement.mean() - t @ p
    score = above / np.sqrt(spreads)
    change = agreement - agreement.mean() - (targets - t) @ p - (predicted - p) @ t
    shrink = (targets - t) @ t / (1 - t @ t) + (predicted - p) @ p / (1 - p @ p)
    return np.asarray(score + change / np.sqrt(spreads) + score * shrink)


def _two_classes(side: PerLabel) -> Float[NDArray[np.float64], "texts 2"]:
    share = side.mean(1)
    return np.stack([1 - share, share], 1)


def _area(column: Callable[[NDArray[np.floating], PerText], PerText]) -> Callable[[Predictions], PerText | None]:
    """Returns the mean of a score of columns, over the labels that some texts have and some do not; binary: of the
    positive label."""

    def score(found: Predictions) -> PerText | None:
        labels = [1] if found.objective == "binary" else range(found.targets.shape[1])
        usable = [label for label in labels if 0 < found.targets[:, label].mean() < 1]
        columns = [column(found.probs[:, label], found.targets[:, label]) for label in usable]
        return np.mean(columns, axis=0) if columns else None

    return score


SCORES: Mapping[str, Callable[[Predictions], PerText | None]] = {
    "accuracy": lambda found: found.agreement,
    "f1_macro": lambda found: _macro(_f1(found), found),
    "f1_micro": _f1_micro,
    "f1_weighted": _f1_weighted,
    "precision_macro": lambda found: _macro(_ratio(found.targets * found.predicted, found.predicted), found),
    "recall_macro": lambda found: _macro(_ratio(found.targets * found.predicted, found.targets), found),
    "auroc": _area(roc_area),
    "average_precision": _area(average_precision),
    "mcc": _matthews,
    "subset_accuracy": lambda found: np.asarray((found.targets == found.predicted).all(1), dtype=np.float64),
    "hamming": lambda found: 1 - found.agreement,
}


OF_SEVERAL = frozenset({"subset_accuracy", "hamming"})
