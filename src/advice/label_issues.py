"""Texts whose label is probably wrong: confident learning (Northcutt et al. 2021) on leave-one-out probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from src.arrays import NDArray

Probs = Float[NDArray[np.float64], "texts labels"]


@dataclass(frozen=True)
class Issue:
    """
    Args:
        text: its index.
        given: the index of the label in question.
        suggested: the index of the likelier label; None for a label of several, which should be removed or added.
        probability: of the given label, or with several labels of the given state of it.
    """

    text: int
    given: int
    suggested: int | None
    probability: float


def label_issues(probs: Probs, targets: NDArray[Any]) -> list[Issue]:
    """Returns the texts off the diagonal of the confident joint, the least probable label first.

    A text counts as confidently of a label if its probability is at least the mean probability of that label among the
    texts that carry it. With several labels per text, each label is a task of its own with two classes.

    Args:
        probs: from models that have not seen the text.
        targets: int64 [texts] label indices, or 0 and 1 as [texts, labels].
    """
    if targets.ndim == 2:
        issues = [
            issue for label in range(probs.shape[1]) for issue in _of_label(probs[:, label], targets[:, label], label)
        ]
    else:
        found, suggested = _off_diagonal(probs, targets)
        issues = [
            Issue(int(i), int(targets[i]), int(suggested[i]), float(probs[i, targets[i]]))
            for i in np.flatnonzero(found)
        ]
    return sorted(issues, key=lambda issue: (issue.probability, issue.text))


def _of_label(probs: Float[NDArray[np.float64], " texts"], has: NDArray[Any], label: int) -> list[Issue]:
    """The texts where a label is probably missing or wrong."""
    both, given = np.stack([1 - probs, probs], axis=1), has.astype(np.int64)
    found, _ = _off_diagonal(both, given)
    return [Issue(int(i), label, None, float(both[i, given[i]])) for i in np.flatnonzero(found)]


def _off_diagonal(
    probs: Probs, targets: Int[NDArray[np.int64], " texts"]
) -> tuple[Bool[NDArray[np.bool_], " texts"], Int[NDArray[np.int64], " texts"]]:
    """Which texts are confidently of another label than theirs, and of which."""
    labels = probs.shape[1]
    means = [probs[targets == label, label].mean() if (targets == label).any() else np.inf for label in range(labels)]
    confident = np.where(probs >= np.array(means), probs, -np.inf)
    likeliest = confident.argmax(1).astype(np.int64)
    return (confident.max(1) > -np.inf) & (likeliest != targets), likeliest
