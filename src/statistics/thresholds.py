"""The probability from which on a label is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from src.arrays import NDArray
from src.config.decision import Costs, Rule

Probabilities = Float[NDArray[np.floating], " texts"]
Truth = Bool[NDArray[np.bool_], " texts"]


@dataclass(frozen=True)
class Criterion:
    """What a threshold is chosen by; more is better.

    Args:
        rule: `f1`, `youden` (sensitivity + specificity - 1) or `cost` (minus the mean cost of a text).
        costs: of the mistakes, for `cost`.
    """

    rule: Rule
    costs: Costs

    @property
    def fallback(self) -> float:
        """The threshold where texts do not tell which is best: 0.5, or the one with the least expected cost if
        probabilities are right (Elkan 2001)."""
        wrong, missed = self.costs.both if self.rule == "cost" else (1.0, 1.0)
        return wrong / (wrong + missed)

    def value(self, said: Any, hits: Any, positives: int, texts: int) -> Any:
        """Returns what decisions are worth.

        Args:
            said: the number of texts that are said to have the label, or an array of such numbers.
            hits: how many of them have it.
            positives: the number of texts that have it.
            texts: the number of texts.
        """
        if self.rule == "f1":
            return 2 * hits / (said + positives)
        if self.rule == "youden":
            return hits / positives - (said - hits) / (texts - positives)
        wrong, missed = self.costs.both
        return -(wrong * (said - hits) + missed * (positives - hits)) / texts

    def of(self, probs: Probabilities, truth: Truth, threshold: float) -> float:
        """Returns what the decisions at a threshold are worth."""
        said = probs >= threshold
        return float(self.value(int(said.sum()), int((said & truth).sum()), int(truth.sum()), len(truth)))


def is_told(probs: Probabilities, truth: Truth) -> bool:
    """Whether texts tell which threshold is best: some must have the label and some not, and their probabilities
    differ."""
    return bool(truth.any() and not truth.all() and probs.min() < probs.max())


def best_threshold(probs: Probabilities, truth: Truth, criterion: Criterion) -> float:
    """Returns the best of all thresholds on these texts, the highest of several; the fallback where they do not tell.

    It lies halfway to the next lower probability, so that it does not depend on a single text.

    Args:
        probs: of the label.
        truth: whether each text has it.
        criterion: what is best.
    """
    if not is_told(probs, truth):
        return criterion.fallback
    order = np.argsort(-probs, kind="stable")
    hits = np.concatenate([[0], np.cumsum(truth[order])])
    worth = np.asarray(criterion.value(np.arange(len(hits)), hits, int(hits[-1]), len(truth)), dtype=np.float64)
    one = np.ones(1, dtype=probs.dtype)
    # The first `said` texts are said to have the label: those above a threshold between these two bounds.
    upper = np.concatenate([np.nextafter(one, 2 * one), probs[order]])
    lower = np.concatenate([probs[order], 0 * one])
    # Texts of equal probability are on the same side.
    worth[1:-1][upper[1:-1] == lower[1:-1]] = -np.inf
    said = int(worth.argmax())
    middle = (upper[said] + lower[said]) / 2
    return float(middle if middle > lower[said] else upper[said])
