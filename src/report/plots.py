"""Figures of a run: curves over the epochs, the confusion matrix, predicted against true numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.arrays import NDArray
from src.data.labels import LabelSpace
from src.pages.figures import BLUE, MOST, ORANGE, literal, short

CELLS = 500  # maximum per axis of a confusion matrix, about one pixel each


def curves(
    history: Sequence[dict[str, float]],
    best_epoch: int,
    title: str,
    first: str = "loss",
    baseline: float | None = None,
    second: str = "accuracy",
) -> Figure:
    """Draws training and validation curves of `first`, a loss or perplexity, and of a score over the epochs, with the
    best epoch and the baseline of `first`."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(literal(title))
    for axes, score in zip(figure.subplots(1, 2), (first, second), strict=True):
        for split, colour, style in (("train", BLUE, "o--"), ("validation", ORANGE, "o-")):
            points = [(e["epoch"], e[f"{split}/{score}"]) for e in history if f"{split}/{score}" in e]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=colour, label=split, markersize=4)
        axes.axvline(best_epoch, color="grey", linewidth=1, linestyle=":", label="best epoch")
        if score == first and baseline is not None:
            axes.axhline(baseline, color="grey", linewidth=1, linestyle="--", label="unigram baseline")
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=score)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> Figure:
    """Draws the confusion matrix; for multi-label data, one 2 x 2 matrix per label. With more than MOST labels, counts
    are omitted; for multi-label data, the labels with the most errors are shown."""
    if space.objective == "multilabel":
        return _confusion_per_label(predicted, targets, space, title)
    labels = len(space.names)
    if labels > MOST:
        return _heat_map(predicted, targets, labels, title)
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (targets, predicted), 1)
    side = max(4.0, 0.55 * labels + 2)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    figure.suptitle(literal(title))
    _draw(figure.subplots(), counts, space.names, space.names)
    return figure


def _heat_map(predicted: NDArray[Any], targets: NDArray[Any], labels: int, title: str) -> Figure:
    """Draws the fraction of each true label as colour; with more than CELLS labels, neighbouring labels share a
    cell."""
    cells = min(labels, CELLS)
    counts = np.zeros((cells, cells), dtype=np.int64)
    np.add.at(counts, (targets * cells // labels, predicted * cells // labels), 1)
    figure = Figure(figsize=(9.0, 8.0), layout="constrained")
    figure.suptitle(literal(title))
    axes = figure.subplots()
    shown = axes.imshow(_row_fractions(counts), cmap="Blues", vmin=0, vmax=1, extent=(0, labels, labels, 0))
    figure.colorbar(shown, label="fraction of the true label")
    axes.set(xlabel=f"predicted, by number of {labels:,} labels", ylabel="true")
    return figure


def _confusion_per_label(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> Figure:
    chosen: NDArray[Any] = np.arange(len(space.names))
    if len(chosen) > MOST:
        errors = (predicted.astype(int) != targets.astype(int)).sum(0)
        chosen = np.sort(np.argsort(-errors, kind="stable")[:MOST])
        title += f": the {MOST} of {len(errors):,} labels with the most errors"
    columns = min(5, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.3 * rows + 0.5), layout="constrained")
    figure.suptitle(literal(title))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for label in chosen.tolist():
        axes = next(panels)
        counts = np.zeros((2, 2), dtype=np.int64)
        np.add.at(counts, (targets[:, label].astype(int), predicted[:, label].astype(int)), 1)
        _draw(axes, counts, ("no", "yes"), ("no", "yes"))
        axes.set_title(short(space.names[label]))
    for axes in panels:
        axes.set_axis_off()
    return figure


def scatter(predicted: NDArray[Any], true: NDArray[Any], names: Sequence[str], title: str) -> Figure:
    """Draws predicted against true numbers, a panel for each target, with the line on which they are equal.

    Args:
        predicted: [examples, targets].
        true: likewise.
        names: of the targets; those beyond MOST are left out.
        title: of the figure.
    """
    shown = min(len(names), MOST)
    columns = min(4, shown)
    rows = math.ceil(shown / columns)
    figure = Figure(figsize=(max(4.4, 3.4 * columns), 3.4 * rows + 0.6), layout="constrained")
    figure.suptitle(literal(title))
    panels = [*figure.subplots(rows, columns, squeeze=False).flat]
    for axes, said, right, name in zip(panels, predicted.T, true.T, names, strict=False):
        ends = [float(right.min()), float(right.max())]
        axes.plot(ends, ends, color="grey", linewidth=1, linestyle="--")
        axes.scatter(right, said, s=9, alpha=min(1.0, 0.1 + 100 / len(right)), color=BLUE, linewidths=0)
        axes.set(xlabel="true", ylabel="predicted", title=short(name))
        axes.grid(alpha=0.3)
    for axes in panels[shown:]:
        axes.set_axis_off()
    return figure


def _row_fractions(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the counts as fractions of their row, the true label."""
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1))


def _draw(axes: Axes, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draws counts as text and fractions of the true label as colour."""
    fractions = _row_fractions(counts)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    rotated = any(len(name) > 6 for name in columns) and len(columns) > 3
    axes.set_xticks(
        range(len(columns)),
        [short(name) for name in columns],
        rotation=45 if rotated else 0,
        ha="right" if rotated else "center",
    )
    axes.set_yticks(range(len(rows)), [short(name) for name in rows])
    axes.set(xlabel="predicted", ylabel="true")
    if len(rows) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
