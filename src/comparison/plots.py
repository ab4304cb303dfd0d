"""Figures of a comparison: differences, what they vary by, scores by seed, scores against costs, losses by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from src.config.monitor import sign
from src.pages.figures import BLUE, ORANGE, short

if TYPE_CHECKING:
    from src.comparison.learning_curves import Curve
    from src.comparison.rows import Row
    from src.grouping.groups import Group
    from src.statistics.estimate import Components


def forest(rows: Sequence[Row], metric: str, baseline: str, margin: float, chosen: str | None) -> Figure:
    """Draws the difference of each group to the baseline with its interval; the band is the margin around 0.

    Groups that may be the best are filled, the chosen one is a star."""
    others = [(row, row.difference) for row in rows if row.difference is not None][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(others)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-margin, margin, color=BLUE, alpha=0.1, label=f"within {margin:.3g}")
    axes.axvline(0, color="grey", linewidth=1)
    for position, (row, difference) in enumerate(others):
        if interval := row.difference_interval:
            axes.plot([interval.low, interval.high], [position, position], "-", color=BLUE)
        axes.plot(difference, position, **_marker(row, chosen))
    axes.set_yticks(range(len(others)), [f"{short(row.name)} (n={row.pairs})" for row, _ in others])
    axes.set(xlabel=f"test {metric}: difference to {short(baseline)},\nwith its simultaneous 95% interval")
    axes.set_ylim(-0.6, len(others) - 0.4)
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside upper right", fontsize=8)
    return figure


def _marker(row: Row, chosen: str | None) -> dict[str, Any]:
    fill = BLUE if row.may_be_best else "white"
    star = row.name == chosen
    return {"marker": "*" if star else "o", "markersize": 12 if star else 6, "color": BLUE, "markerfacecolor": fill}


def slopes(groups: Sequence[Group], metric: str) -> Figure:
    """Draws the test score of every run with one line per seed. The more parallel the lines, the more pairing helps."""
    figure = Figure(figsize=(max(5.0, 1.1 * len(groups) + 2), 3.8), layout="constrained")
    axes = figure.subplots()
    scores = [group.values("metrics", "test", metric) for group in groups]
    blocks = sorted({block for found in scores for block in found})
    for block in blocks:
        points = [(position, found[block]) for position, found in enumerate(scores) if block in found]
        axes.plot(*zip(*points, strict=True), "o-", markersize=4, linewidth=1, alpha=0.8, label=block.title)
    axes.set_xticks(range(len(groups)), [short(group.name) for group in groups], rotation=30, ha="right")
    axes.set(ylabel=f"test {metric}")
    axes.grid(alpha=0.3)
    if len(blocks) <= 10:
        figure.legend(loc="outside right upper", fontsize=7)
    return figure


def components(rows: Sequence[Row], baseline: str) -> Figure:
    """Draws what the variance of each difference to the baseline comes from: seeds, texts, or both together."""
    found = [(row, row.components) for row in rows if row.components is not None][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(found)), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(found)
    for name, colour in (("seeds", ORANGE), ("texts", BLUE), ("seeds and texts together", "silver")):
        shares = [_shares(parts)[name] for _, parts in found]
        axes.barh(range(len(found)), shares, left=left, color=colour, label=name)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.set_yticks(range(len(found)), [short(row.name) for row, _ in found])
    axes.set(xlabel=f"fraction of the variance of the mean difference to {short(baseline)}", xlim=(0, 1))
    figure.legend(loc="outside upper right", fontsize=8, ncols=3)
    return figure


def _shares(parts: Components) -> dict[str, float]:
    """Returns the fractions of the variance of a mean difference."""
    found = {
        "seeds": parts.seed / parts.seeds,
        "texts": parts.unit / parts.units,
        "seeds and texts together": parts.residual / (parts.seeds * parts.units),
    }
    return {name: value / (sum(found.values()) or 1.0) for name, value in found.items()}


def tradeoffs(rows: Sequence[Row], metric: str, chosen: str | None) -> Figure:
    """Draws the score against trainable parameters, time and memory; the line connects the Pareto-optimal groups, and
    the chosen one is a star."""
    figure = Figure(figsize=(11, max(3.8, 0.16 * len(rows) + 0.6)), layout="constrained")
    costs = (
        ("trainable", 1.0, "trainable parameters"),
        ("seconds", 1.0, "seconds per run, without encoding"),
        ("memory", 1e9, "peak memory, GB"),
    )
    for axes, (cost, unit, title) in zip(figure.subplots(1, 3, sharey=True), costs, strict=True):
        points = [(float(getattr(row, cost)) / unit, row.scores[metric]) for row in rows]
        best = pareto(points, sign(metric))
        axes.plot(*zip(*sorted(best), strict=True), "-", color=ORANGE, linewidth=1, drawstyle="steps-post")
        for number, (point, row) in enumerate(zip(points, rows, strict=True), start=1):
            # Names next to the points could overlap, so they are in the legend.
            colour, label = ORANGE if point in best else BLUE, f"{number}  {short(row.name)}"
            marker, size = ("*", 12) if row.name == chosen else ("o", 5)
            known = label if cost == "trainable" else None
            axes.plot(*point, marker, color=colour, markersize=size, label=known)
            axes.annotate(str(number), point, xytext=(3, 3), textcoords="offset points", fontsize=8)
        axes.margins(0.15)
        axes.set(xlabel=title)
        axes.grid(alpha=0.3)
    parameters, *linear = figure.axes
    parameters.set_ylabel(f"test {metric}")
    if parameters.dataLim.x1 < 10 * parameters.dataLim.x0:  # a log axis labels powers of ten, of which it may have none
        linear.append(parameters)
    else:
        parameters.set_xscale("log")
        parameters.xaxis.set_minor_formatter(NullFormatter())
    for axes in linear:
        axes.set_xlim(0, 1.1 * axes.dataLim.x1)  # otherwise points with nearly equal costs would fill the axis
    figure.legend(loc="outside right upper", fontsize=8, handlelength=0, handletextpad=0, markerscale=0)
    return figure


def pareto(points: Sequence[tuple[float, float]], direction: int = 1) -> list[tuple[float, float]]:
    """Returns the Pareto-optimal points (cost, score): no other costs at most as much and scores at least as high, or
    with direction -1, as low."""
    gains = [(cost, direction * score) for cost, score in points]
    found = [(x, y) for x, y in gains if not any((a <= x and b >= y) and (a, b) != (x, y) for a, b in gains)]
    return [(cost, direction * gain) for cost, gain in found]


def learning(groups: Sequence[Group], score: str) -> Figure:
    """Draws a validation score over the epochs, one line per run and one colour per group."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.subplots()
    for index, group in enumerate(groups):
        for number, run in enumerate(group.finished):
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


def by_training_texts(curves: Sequence[Curve], metric: str) -> Figure:
    """Draws the score of each strategy against the number of training texts, and its extrapolation to twice as many."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.subplots()
    for index, curve in enumerate(curves):
        colour = f"C{index % 10}"
        points = [(point.texts, point.score) for point in curve.points]
        axes.plot(*zip(*points, strict=True), "-", color=colour, linewidth=1, label=short(curve.name))
        for point in curve.points:
            low, high = (point.interval.low, point.interval.high) if point.interval else (point.score, point.score)
            axes.plot([point.texts] * 2, [low, high], "-", color=colour, alpha=0.5)
            axes.plot(point.texts, point.score, "o", color=colour, mfc="white" if point.undertrained else colour)
        if curve.doubled:
            axes.plot([curve.largest, 2 * curve.largest], [points[-1][1], curve.doubled.value], "--", color=colour)
            axes.plot([2 * curve.largest] * 2, [curve.doubled.low, curve.doubled.high], ":", color=colour)
    axes.set(xscale="log", xlabel="training texts", ylabel=f"test {metric}")
    sizes = sorted({point.texts for curve in curves for point in curve.points})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
