"""The figure of advice: scores by layer."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.advice.advice import Advice
from src.advice.probes import ALL_LAYERS
from src.pages.figures import BLUE, ORANGE


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
