"""Pictures of a run: curves over the epochs, and which labels are mistaken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from src.data.labels import LabelSpace

BLUE, ORANGE = "#0072b2", "#d55e00"  # told apart by colour-blind readers too


def curves(
    history: Sequence[dict[str, float]], best_epoch: int, title: str, first: str = "loss", baseline: float | None = None
) -> Figure:
    """`first`, a loss or perplexity, and accuracy of training and validation over the epochs; the best epoch is marked,
    and so is a baseline of `first`."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, score in zip(figure.subplots(1, 2), (first, "accuracy"), strict=True):
        for split, colour, style in (("train", BLUE, "o--"), ("validation", ORANGE, "o-")):
            points = [(e["epoch"] + 1, e[f"{split}/{score}"]) for e in history if f"{split}/{score}" in e]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=colour, label=split, markersize=4)
        axes.axvline(best_epoch + 1, color="grey", linewidth=1, linestyle=":", label="best epoch")
        if score == first and baseline is not None:
            axes.axhline(baseline, color="grey", linewidth=1, linestyle="--", label="token frequencies alone")
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=score)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> Figure:
    """How often each label was predicted for each true one; for multi-label data, one 2 x 2 table a label."""
    if space.objective == "multilabel":
        return _confusion_per_label(predicted, targets, space, title)
    labels = len(space.names)
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (targets, predicted), 1)
    side = max(4.0, 0.55 * labels + 2)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    figure.suptitle(title)
    _draw(figure.subplots(), counts, space.names, space.names)
    return figure


def _confusion_per_label(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> Figure:
    columns = min(5, len(space.names))
    rows = math.ceil(len(space.names) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.3 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for label, name in enumerate(space.names):
        axes = next(places)
        counts = np.zeros((2, 2), dtype=np.int64)
        np.add.at(counts, (targets[:, label].astype(int), predicted[:, label].astype(int)), 1)
        _draw(axes, counts, ("no", "yes"), ("no", "yes"))
        axes.set_title(name)
    for axes in places:
        axes.set_axis_off()
    return figure


def _draw(axes: Axes, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Counts as text, shares of the true label as colour."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    turned = any(len(name) > 6 for name in columns) and len(columns) > 3
    axes.set_xticks(range(len(columns)), columns, rotation=45 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel="predicted", ylabel="true")
    if len(rows) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
