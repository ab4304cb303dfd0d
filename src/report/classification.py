"""The classification report as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import classification_report

from src.data.labels import LabelSpace


def report_text(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> str:
    """Precision, recall, F1 and support of each label, and their macro, micro (or accuracy) and weighted averages.

    Args:
        predicted: int64 [rows] label indices, or [rows, labels] of 0 and 1.
        targets: likewise.
        space: the labels.
        title: the first line.
    """
    multilabel = space.objective == "multilabel"
    labels = None if multilabel else np.arange(len(space.names))
    table = classification_report(
        targets, predicted, labels=labels, target_names=list(space.names), digits=3, zero_division=0
    )
    return f"{title}\n\n{table}"
