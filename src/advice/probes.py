"""What a linear head on each layer reaches: ridge probes with exact leave-one-out predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from src.arrays import NDArray
from src.data.labels import LabelSpace
from src.statistics import number_influence
from src.statistics.best import AllPairs
from src.statistics.crossed import crossed
from src.statistics.estimate import Estimate
from src.statistics.influence import contributions
from src.statistics.intervals import Interval
from src.statistics.ridge import GRID, leave_one_out
from src.statistics.temperature import least_loss

FEWEST = {"accuracy": 2, "f1_macro": 300, "pearson": 100, "r2": 100}  # texts with which the intervals of a score hold
ALL_LAYERS = "all layers"
SIDE_BY_SIDE = 1_000  # directions of all layers together that the probe on all layers reads
DIGITS = 12  # behind the point of predicted numbers
PerText = Float[NDArray[np.float64], " texts"]
Vectors = Float[NDArray[np.floating], "texts width"]


@dataclass(frozen=True)
class Probe:
    """A linear head on the frozen output of one layer, or of all.

    Args:
        name: of what it reads, such as `layer 4`.
        layers: of the backbone that it needs.
        probs: leave-one-out probabilities of the labels; in regression, the predicted numbers, standardised.
        contributions: of each text to each score; their mean is the score.
    """

    name: str
    layers: int
    probs: Float[NDArray[np.float64], "texts labels"]
    contributions: Mapping[str, PerText]

    def score(self, metric: str) -> float:
        return float(self.contributions[metric].mean())

    def interval(self, metric: str) -> Interval:
        """The score with its 95% interval for other texts."""
        found = estimate(self.contributions[metric])
        value = self.score(metric)
        return Interval(value, value, value) if found is None else found.interval()


def probe_layers(
    vectors: Float[NDArray[np.floating], "texts outputs width"], targets: NDArray[Any], space: LabelSpace
) -> list[Probe]:
    """Returns a probe of the embeddings and of each layer, and one that reads all layers side by side.

    Args:
        vectors: of each text after the embeddings and after each layer.
        targets: int64 [texts] label indices, float32 [texts, labels] of 0 and 1, or float32 [texts, targets] of
            numbers.
        space: the labels, or the targets.
    """
    layers = vectors.shape[1] - 1
    probes = [
        probe("embeddings" if k == 0 else f"layer {k}", k, vectors[:, k], targets, space) for k in range(layers + 1)
    ]
    together = np.concatenate([_leading(vectors[:, k], SIDE_BY_SIDE // layers) for k in range(1, layers + 1)], 1)
    return [*probes, probe(ALL_LAYERS, layers, together, targets, space)]


def probe(name: str, layers: int, vectors: Vectors, targets: NDArray[Any], space: LabelSpace) -> Probe:
    """Returns the probe of these vectors; arguments as above."""
    if space.is_regression:
        wanted = (targets - np.array(space.mean)) / np.array(space.std)
        # Where all are the mean, they still differ by rounding, which would have a correlation of its own.
        numbers = np.round(_without_each(vectors, wanted, (*GRID, math.inf)), DIGITS)
        return Probe(name, layers, *_numbers(numbers, wanted))
    wanted = indicators(targets, len(space.names))
    predictions = _without_each(vectors, wanted)
    if space.objective == "multilabel":
        probs = np.stack([_platt(p, y) for p, y in zip(predictions.T, wanted.T, strict=True)], axis=1)
        predicted: NDArray[Any] = probs > 0.5
    else:
        probs = _tempered(predictions, targets)
        predicted = probs.argmax(1)
    scored = [metric for metric in metrics_of(space) if len(targets) >= FEWEST[metric]]
    parts = {
        metric: contributions(metric, probs, targets.astype(np.int64), predicted, space.objective) for metric in scored
    }
    return Probe(name, layers, probs, {metric: part for metric, part in parts.items() if part is not None})


def metrics_of(space: LabelSpace) -> tuple[str, ...]:
    """Returns the scores of probes, the default first."""
    return ("pearson", "r2") if space.is_regression else ("accuracy", "f1_macro")


def _without_each(
    vectors: Vectors, wanted: Float[NDArray[np.float64], "texts targets"], grid: Sequence[float] = GRID
) -> Float[NDArray[np.float64], "texts targets"]:
    """Returns what a ridge regression on all other texts predicts of each text, but with the intercept of all texts:
    without a text, it moves against the label of that text, which makes vectors that say nothing look worse than
    chance."""
    return np.asarray(leave_one_out(vectors, wanted, grid).predictions + (wanted - wanted.mean(0)) / (len(wanted) - 1))


def _numbers(
    predicted: Float[NDArray[np.float64], "texts targets"], wanted: Float[NDArray[np.float64], "texts targets"]
) -> tuple[Float[NDArray[np.float64], "texts targets"], Mapping[str, PerText]]:
    """Returns the predictions with the contributions to their scores."""
    parts = {metric: number_influence.contributions(metric, predicted, wanted) for metric in ("pearson", "r2")}
    return predicted, {metric: part for metric, part in parts.items() if part is not None}


def all_pairs(probes: Sequence[Probe], metric: str) -> AllPairs:
    """The differences of all pairs of probes, paired by text."""
    parts = {found.name: found.contributions[metric] for found in probes}
    pairs = {(a, b): estimate(parts[a] - parts[b]) for a, b in combinations(parts, 2)}
    return AllPairs([*parts], pairs)


def estimate(contributions: PerText) -> Estimate | None:
    """Returns the mean of leave-one-out scores, or differences of them, with its standard error.

    The texts are also those that the probes are fitted on, so the scores depend on each other. The variance of
    independent ones is doubled, as for cross-validation with as many folds as texts (Nadeau & Bengio 2003, eq. 7).
    """
    found = crossed(contributions[None])
    return None if found is None else replace(found, error=math.sqrt(2) * found.error)


def indicators(targets: NDArray[Any], labels: int) -> Float[NDArray[np.float64], "texts labels"]:
    """Returns 1 where a text has a label, and 0 elsewhere.

    Args:
        targets: int64 [texts] label indices, or float32 [texts, labels] of 0 and 1.
        labels: how many there are.
    """
    return np.asarray(targets if targets.ndim == 2 else np.eye(labels)[targets], dtype=np.float64)


def _leading(vectors: Vectors, count: int) -> Float[NDArray[np.float64], "texts directions"]:
    """The vectors in the directions in which they vary most, scaled so that each layer varies as much as the others."""
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    squares, directions = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ directions[:, ::-1][:, :count] / np.sqrt(max(squares.sum(), 1e-300)))


def _tempered(
    predictions: Float[NDArray[np.float64], "texts labels"], targets: NDArray[Any]
) -> Float[NDArray[np.float64], "texts labels"]:
    """Probabilities from predicted indicators: their softmax at the temperature with the least loss."""
    return np.asarray(softmax(predictions / least_loss(predictions, targets), axis=1))


def _platt(predictions: PerText, wanted: PerText) -> PerText:
    """Probabilities of one label from its predicted indicator, by logistic regression (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    if wanted.min() == wanted.max():
        return np.full_like(predictions, wanted[0])
    fitted = LogisticRegression(C=1e6).fit(predictions[:, None], wanted)
    return np.asarray(fitted.predict_proba(predictions[:, None])[:, 1])
