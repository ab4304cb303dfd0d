"""The classification report as text."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.metrics import classification_report, f1_score

from src.arrays import NDArray
from src.data.labels import LabelSpace
from src.errors import listed
from src.modules import metrics

SORTED = 10  # labels, above which they are sorted by their scores


def report_text(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace) -> str:
    """Returns precision, recall, F1 and support of each label that occurs in targets or predictions, and their macro,
    micro (or accuracy) and weighted averages, which equal the scores of `metrics.measure`. Of many labels, those with
    the lowest F1 come first.

    Args:
        predicted: int64 [rows] label indices, or [rows, labels] of 0 and 1.
        targets: likewise.
        space: the labels.
    """
    given = metrics.occurring(torch.from_numpy(predicted), torch.from_numpy(targets), len(space.names)).numpy()
    labels = np.flatnonzero(given) if given.any() else np.arange(len(space.names))
    if len(labels) > SORTED:
        f1 = f1_score(targets, predicted, labels=labels, average=None, zero_division=0)
        labels = labels[np.argsort(f1, kind="stable")]
    names = [space.names[label] for label in labels]
    table = classification_report(targets, predicted, labels=labels, target_names=names, digits=3, zero_division=0)
    absent = [name for name, occurs in zip(space.names, given, strict=True) if not occurs]
    if absent:
        table += (
            f"\nMacro averages are over the labels that occur or are predicted, which leaves out: {listed(absent)}\n"
        )
    return str(table)
