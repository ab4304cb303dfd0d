"""The figures of advice: scores by layer, and by what an epoch takes."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.advice.advice import Advice
from src.advice.probes import ALL_LAYERS
from src.pages.figures import BLUE, ORANGE

LEAST_SECONDS = 0.01  # on the axis, of heads on stored vectors


HIGHEST = 1.02  # on the axis: no score is above 1


def by_layer(advice: Advice) -> Figure:
    """Draws the score of a linear head by the layer that it reads, with intervals.

    The band is the margin below the best layer, the star is the advised one.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    single = [layer for layer in advice.layers if layer.name != ALL_LAYERS]
    found = [layer.scores[advice.metric] for layer in single]
    best, depths = max(interval.value for interval in found[1:]), [layer.layers for layer in single]
    axes.axhspan(best - advice.margin, best, color=BLUE, alpha=0.1, label=f"within {advice.margin:g} of the best layer")
    axes.vlines(depths, [i.low for i in found], [i.high for i in found], color=BLUE, alpha=0.5)
    axes.plot(depths, [i.value for i in found], "o-", color=BLUE, label="one layer")
    together = advice.layer(ALL_LAYERS).scores[advice.metric].value
    axes.axhline(together, color="grey", linestyle="--", linewidth=1, label="all layers side by side")
    chosen = advice.chosen
    axes.plot(chosen.layers, chosen.scores[advice.metric].value, "*", color=ORANGE, markersize=14, label="advised")
    axes.set(xlabel="layer that the head reads (0: embeddings)", ylabel=f"leave-one-out {advice.metric}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def by_cost(advice: Advice) -> Figure:
    """Draws the scores of the heads whose cost is known, with intervals, by the seconds of an epoch; strategies that
    train layers, whose scores nobody knows yet, are lines at their cost."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    layers = {advice.strategy(layer): layer for layer in advice.layers}
    fastest = min((cost.epoch, name) for name, cost in advice.costs.items() if name in layers)[1]
    for number, (name, cost) in enumerate(advice.costs.items()):
        time = max(cost.epoch, LEAST_SECONDS)
        if name in layers:
            score = layers[name].scores[advice.metric]
            below, above = score.value - score.low, score.high - score.value
            axes.errorbar(time, score.value, [[below], [above]], fmt="o", color=BLUE)
            # The two heads on stored vectors take about as long: their names are on the outer sides.
            axes.text(time, score.value, f" {name} ", ha="right" if name == fastest else "left", va="center")
        else:
            axes.axvline(time, color=ORANGE, linestyle="--", linewidth=1)
            # Beside each other, names of strategies that take about as long would hide each other.
            height = 0.95 - 0.09 * (number % 4)
            white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # over the lines beside it
            axes.annotate(f" {name}: ?", (time, height), xycoords=("data", "axes fraction"), color=ORANGE, bbox=white)
    axes.margins(x=0.2, y=0.3)
    axes.set_ylim(top=min(axes.get_ylim()[1], HIGHEST))
    axes.set(xscale="log", xlabel="seconds of an epoch", ylabel=f"leave-one-out {advice.metric}")
    axes.grid(alpha=0.3)
    return figure
