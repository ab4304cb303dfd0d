"""Figures of an explanation: importance of words, attention maps, faithfulness curves."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from src.arrays import NDArray
from src.explanation.faithfulness import GRID, Curves, band
from src.pages.figures import BLUE, ORANGE, literal

Weights = NDArray[np.float32]


MOST_TICKS = 40  # per axis of an attention map


MOST_WORDS = 300  # in a figure


STYLES = ("o-", "s--", "^:")  # of methods, distinguishable without colour


def importance(words: Sequence[str], values: Sequence[float], title: str, regression: bool = False) -> Figure:
    """Draws one bar per word, in the order of the text; bars to the right support the label, or raise the number. Of a
    long text, the most important words are shown."""
    chosen = np.sort(np.argsort(-np.abs(values), kind="stable")[:MOST_WORDS])
    words, values = [words[i] for i in chosen], [values[i] for i in chosen]
    figure = Figure(figsize=(7, 1.2 + 0.2 * len(words)), layout="constrained")
    axes = figure.subplots()
    colours = [ORANGE if value > 0 else BLUE for value in values]
    axes.barh(range(len(words)), values, color=colours)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(words)), [_plain(word) for word in words], fontsize=8)
    axes.set_ylim(len(words) - 0.4, -0.6)
    axes.set_title(_plain(title), fontsize=10)
    axes.set_xlabel("change of the number" if regression else "logits: left against the label, right for it")
    axes.grid(alpha=0.3, axis="x")
    return figure


def layer_means(weights: Weights, layers: Sequence[int], tokens: Sequence[str]) -> Figure:
    """Draws the mean over heads of each layer's attention. Rows attend to columns; each map has its own scale.

    Args:
        weights: [layers, heads, tokens, tokens].
        layers: indices of the layers.
        tokens: names of the tokens.
    """
    columns = min(3, len(layers))
    rows, size = math.ceil(len(layers) / columns), len(tokens)
    maps = np.full((rows * columns, size, size), np.nan, dtype=np.float32)
    maps[: len(layers)] = weights.mean(1)
    side = min(7.0, max(3.0, 0.14 * size))
    figure = Figure(figsize=(side * columns + 1, side * rows + 1), layout="constrained")
    axes, begins = _mosaic(figure, maps.reshape(rows, columns, size, size))
    step = math.ceil(size / MOST_TICKS)
    names = [_plain(token) for token in tokens[::step]]
    ticks = np.arange(0, size, step)
    axes.set_xticks((begins[:columns, None] + ticks).flatten(), names * columns, rotation=90, fontsize=6)
    axes.set_yticks((begins[:rows, None] + ticks).flatten(), names * rows, fontsize=6)
    for index, layer in enumerate(layers):
        left, top = begins[index % columns], begins[index // columns]
        axes.text(left, top - 1, f"layer {layer}, mean over heads", fontsize=9)
    return figure


def all_heads(weights: Weights, layers: Sequence[int], heads: Sequence[int]) -> Figure:
    """Draws each chosen head as a small map, one row per layer, one column per head; each map has its own scale."""
    figure = Figure(figsize=(1.0 * len(heads) + 0.8, 1.0 * len(layers) + 0.8), layout="constrained")
    axes, begins = _mosaic(figure, weights)
    middles = begins + weights.shape[-1] / 2
    axes.set_xticks(middles[: len(heads)], [str(head) for head in heads])
    axes.set_yticks(middles[: len(layers)], [str(layer) for layer in layers])
    axes.set(xlabel="head", ylabel="layer")
    return figure


def _mosaic(figure: Figure, maps: Weights) -> tuple[Axes, NDArray[np.intp]]:
    """Draws maps [rows, columns, tokens, tokens] as one image, which is much faster than one axes per map. Returns the
    axes and the offset of each map of a row or column, in pixels."""
    rows, columns, size, _ = maps.shape
    gap = max(2, size // 16)
    peaks = np.nan_to_num(maps).max((2, 3), keepdims=True)
    tiled = np.pad(maps / np.maximum(peaks, 1e-12), ((0, 0), (0, 0), (gap, 0), (gap, 0)), constant_values=np.nan)
    axes = figure.subplots()
    image = tiled.transpose(0, 2, 1, 3).reshape(rows * (size + gap), columns * (size + gap))
    axes.imshow(image, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(False)
    return axes, np.arange(max(rows, columns)) * (size + gap) + gap


def faithfulness(curves: Mapping[str, Curves], label: str, regression: bool = False) -> Figure:
    """Draws the label's probability, or the target's number, while words are masked or unmasked, by method; 90% of
    random orders in grey."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    titles = {"deletion": "masking the most important words", "insertion": "unmasking the most important words"}
    for axes, (kind, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        for name, found in curves.items():
            values = getattr(found, kind)
            if name == "random":
                axes.fill_between(GRID, *band(values).tolist(), color="grey", alpha=0.25, label="random orders")
            else:
                number, shown = list(curves).index(name), name.replace("_", " ")
                axes.plot(GRID, values[0], STYLES[number], color=f"C{number}", markersize=4, label=shown)
        axes.set(title=title, xlabel="fraction of the words")
        if not regression:
            axes.set_ylim(-0.03, 1.03)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(_plain(label if regression else f"probability of {label}"))
    figure.axes[0].legend(fontsize=8)
    return figure


def _plain(text: str) -> str:
    """Returns a short text that matplotlib does not parse as a formula and that its font can draw."""
    shown = "".join(c if ord(c) in _drawable() else "?" for c in text)
    return literal(shown if len(shown) <= 40 else f"{shown[:39]}…")


@functools.cache
def _drawable() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(font_manager.FontProperties())).get_charmap())
