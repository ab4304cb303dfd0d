"""Pictures of a run (curves over the epochs, which labels are mistaken for which) and of a comparison of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from src.data.labels import LabelSpace

if TYPE_CHECKING:
    from src.report.comparison import Row
    from src.report.groups import Group

BLUE, ORANGE = "#0072b2", "#d55e00"  # told apart by colour-blind readers too
LONGEST = 36  # characters of a group's or a label's name
MOST = 40  # labels or groups that a picture has room for
CELLS = 500  # in each direction of a picture of more labels, about a pixel each


def literal(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def short(name: str) -> str:
    """A name as text that leaves room for a plot: groups of runs that differ in much have names of many values."""
    return literal(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…")


def curves(
    history: Sequence[dict[str, float]], best_epoch: int, title: str, first: str = "loss", baseline: float | None = None
) -> Figure:
    """`first`, a loss or perplexity, and accuracy of training and validation over the epochs; the best epoch is marked,
    and so is a baseline of `first`."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(literal(title))
    for axes, score in zip(figure.subplots(1, 2), (first, "accuracy"), strict=True):
        for split, colour, style in (("train", BLUE, "o--"), ("validation", ORANGE, "o-")):
            points = [(e["epoch"], e[f"{split}/{score}"]) for e in history if f"{split}/{score}" in e]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=colour, label=split, markersize=4)
        axes.axvline(best_epoch, color="grey", linewidth=1, linestyle=":", label="best epoch")
        if score == first and baseline is not None:
            axes.axhline(baseline, color="grey", linewidth=1, linestyle="--", label="token frequencies alone")
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=score)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> Figure:
    """How often each label was predicted for each true one; for multi-label data, one 2 x 2 table a label. Of more than
    MOST labels, colours alone; for multi-label data, the tables of those with the most mistakes."""
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
    """Shares of the true label as colour; where there are more labels than CELLS, neighbours share a cell."""
    cells = min(labels, CELLS)
    counts = np.zeros((cells, cells), dtype=np.int64)
    np.add.at(counts, (targets * cells // labels, predicted * cells // labels), 1)
    figure = Figure(figsize=(9.0, 8.0), layout="constrained")
    figure.suptitle(literal(title))
    axes = figure.subplots()
    shown = axes.imshow(_shares(counts), cmap="Blues", vmin=0, vmax=1, extent=(0, labels, labels, 0))
    figure.colorbar(shown, label="share of the true label")
    axes.set(xlabel=f"predicted, by number of {labels:,} labels", ylabel="true")
    return figure


def _confusion_per_label(predicted: NDArray[Any], targets: NDArray[Any], space: LabelSpace, title: str) -> Figure:
    chosen: NDArray[Any] = np.arange(len(space.names))
    if len(chosen) > MOST:
        mistakes = (predicted.astype(int) != targets.astype(int)).sum(0)
        chosen = np.sort(np.argsort(-mistakes, kind="stable")[:MOST])
        title += f": the {MOST} of {len(mistakes):,} labels with the most mistakes"
    columns = min(5, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.3 * rows + 0.5), layout="constrained")
    figure.suptitle(literal(title))
    places = figure.subplots(rows, columns, squeeze=False).flat
    for label in chosen.tolist():
        axes = next(places)
        counts = np.zeros((2, 2), dtype=np.int64)
        np.add.at(counts, (targets[:, label].astype(int), predicted[:, label].astype(int)), 1)
        _draw(axes, counts, ("no", "yes"), ("no", "yes"))
        axes.set_title(short(space.names[label]))
    for axes in places:
        axes.set_axis_off()
    return figure


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the true label, which is the row."""
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1))


def _draw(axes: Axes, counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Counts as text, shares of the true label as colour."""
    shares = _shares(counts)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    turned = any(len(name) > 6 for name in columns) and len(columns) > 3
    axes.set_xticks(
        range(len(columns)),
        [short(name) for name in columns],
        rotation=45 if turned else 0,
        ha="right" if turned else "center",
    )
    axes.set_yticks(range(len(rows)), [short(name) for name in rows])
    axes.set(xlabel="predicted", ylabel="true")
    if len(rows) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour)


def forest(rows: Sequence[Row], metric: str, baseline: str, margin: float) -> Figure:
    """The difference of each group to the baseline with its interval; the band is as good as the baseline."""
    others = [(row, row.difference) for row in rows if row.difference is not None][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(others)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-margin, margin, color=BLUE, alpha=0.1, label=f"within {margin:g}")
    axes.axvline(0, color="grey", linewidth=1)
    for place, (row, difference) in enumerate(others):
        axes.plot(difference, place, "o", color=BLUE)
        if interval := row.difference_interval:
            axes.plot([interval.low, interval.high], [place, place], "-", color=BLUE)
    axes.set_yticks(range(len(others)), [f"{short(row.name)} (n={row.pairs})" for row, _ in others])
    axes.set(xlabel=f"test {metric}: difference to {short(baseline)},\nwith its 95% interval")
    axes.set_ylim(-0.6, len(others) - 0.4)
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside upper right", fontsize=8)
    return figure


def slopes(groups: Sequence[Group], metric: str) -> Figure:
    """The test score of every run, with a line for each seed: parallel lines are what makes pairing worth it."""
    figure = Figure(figsize=(max(5.0, 1.1 * len(groups) + 2), 3.8), layout="constrained")
    axes = figure.subplots()
    seeds = sorted({seed for group in groups for seed in group.finished})
    scores = [group.values("metrics", "test", metric) for group in groups]
    for seed in seeds:
        points = [(place, found[seed]) for place, found in enumerate(scores) if seed in found]
        axes.plot(*zip(*points, strict=True), "o-", markersize=4, linewidth=1, alpha=0.8, label=f"seed {seed}")
    axes.set_xticks(range(len(groups)), [short(group.name) for group in groups], rotation=30, ha="right")
    axes.set(ylabel=f"test {metric}")
    axes.grid(alpha=0.3)
    if len(seeds) <= 10:
        figure.legend(loc="outside right upper", fontsize=7)
    return figure


def tradeoffs(rows: Sequence[Row], metric: str) -> Figure:
    """Score against parameters that train, time and memory; no group beats those on the line in both."""
    figure = Figure(figsize=(11, max(3.8, 0.16 * len(rows) + 0.6)), layout="constrained")
    costs = (
        ("trainable", 1.0, "parameters that train"),
        ("seconds", 1.0, "seconds of a run"),
        ("memory", 1e9, "GB of peak memory"),
    )
    for axes, (cost, unit, title) in zip(figure.subplots(1, 3, sharey=True), costs, strict=True):
        points = [(float(getattr(row, cost)) / unit, row.scores[metric]) for row in rows]
        best = pareto(points)
        axes.plot(*zip(*sorted(best), strict=True), "-", color=ORANGE, linewidth=1, drawstyle="steps-post")
        for number, (point, row) in enumerate(zip(points, rows, strict=True), start=1):
            # Names of points that lie close together would cover each other; the legend has them.
            colour, label = ORANGE if point in best else BLUE, f"{number}  {short(row.name)}"
            axes.plot(*point, "o", color=colour, markersize=5, label=label if cost == "trainable" else None)
            axes.annotate(str(number), point, xytext=(3, 3), textcoords="offset points", fontsize=8)
        axes.margins(0.15)
        axes.set(xlabel=title)
        axes.grid(alpha=0.3)
    parameters, *others = figure.axes
    parameters.set_xscale("log")
    parameters.set_ylabel(f"test {metric}")
    for axes in others:
        axes.set_xlim(0, 1.1 * axes.dataLim.x1)  # the margin of points that cost nearly the same would be none
    figure.legend(loc="outside right upper", fontsize=8, handlelength=0, handletextpad=0, markerscale=0)
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points of which no other costs less and scores at least as much."""
    return [(x, y) for x, y in points if not any((a <= x and b >= y) and (a, b) != (x, y) for a, b in points)]


def learning(groups: Sequence[Group], score: str) -> Figure:
    """A validation score over the epochs, a line for each run and a colour for each group."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.subplots()
    for index, group in enumerate(groups):
        for number, run in enumerate(group.finished.values()):
            history = run.result["history"] if run.result else []
            points = [(e["epoch"], e[f"validation/{score}"]) for e in history if f"validation/{score}" in e]
            if points:
                label = short(group.name) if number == 0 else None
                style = "o-" if index < 10 else "o--"
                colour = f"C{index % 10}"
                axes.plot(*zip(*points, strict=True), style, color=colour, markersize=2, linewidth=1, label=label)
    axes.set(xlabel="epoch", ylabel=f"validation {score}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    return figure
