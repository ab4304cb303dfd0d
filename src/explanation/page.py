"""Writes an explanation: page, figures, attention weights and values; and an index of several explanations."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from src.errors import UserError
from src.explanation import plots
from src.explanation.explanation import Explanation, as_record, attention_record
from src.explanation.gradients import TOLERANCE
from src.explanation.question import Question
from src.pages.figures import MOST
from src.pages.html import render, save

LARGEST = 24_000_000  # attention weights in a page, about 2 bytes each


LEVELS = 65535  # quantization levels of attention weights in a page; attention.npz has full precision


def run_title(folder: str, result: Mapping[str, Any]) -> str:
    """Returns what a page calls a run: its folder; of one of a multirun, whose folder is a number, first what it is.

    Args:
        folder: its name.
        result: of the run.
    """
    return f"{result['strategy']}, seed {result['seed']} ({folder})" if folder.isdecimal() else folder


@dataclass(frozen=True)
class Side:
    """The explanation of a text by one run, for the page.

    Args:
        title: the run's name on the page.
        run: its folder.
        strategy: its freezing strategy.
        stages: `frozen`, `trained` or `in part`, by stage.
        found: the explanation.
        given: the labels that a run with thresholds predicts; None for other runs.
    """

    title: str
    run: str
    strategy: str
    stages: dict[str, str]
    found: Explanation
    given: list[str] | None = None


@dataclass(frozen=True)
class Entry:
    """A row of the index: the page's folder, the text, and for each run the most probable label, its probability and
    the most important words."""

    name: str
    text: str
    predictions: list[tuple[str, float, list[str]]]

    @property
    def agreed(self) -> bool:
        """Whether all runs have the same most probable label."""
        return len({label for label, _, _ in self.predictions}) == 1


def check_size(tokens: int, question: Question) -> None:
    """Checks that the attention weights fit into a page.

    Raises:
        UserError: there are too many.
    """
    size = tokens * tokens * len(question.layers) * (len(question.heads) + 2)
    if "attention" in question.methods and size > LARGEST:
        raise UserError(
            f"A page can hold at most {LARGEST / 1e6:.0f} million attention weights; {len(question.layers)} layers "
            f"and {len(question.heads)} heads of {tokens} tokens are {size / 1e6:.0f} million.\n"
            "Choose some: layers=[0,…] heads=[0,…]."
        )


def write_page(sides: Sequence[Side], folder: Path) -> Entry:
    """Writes `index.html`, `explanation.json`, `attention.npz` and the figures of one text into a folder.

    Args:
        sides: the explanations of the text by one run or two.
        folder: created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for side, ending in zip(sides, ("", "_against"), strict=False):
        curves = _write_figures(side, folder, ending)
        figures.append((side, curves, as_record(side.found)))
        if side.found.attention:
            arrays = {"weights": _chosen(side.found), "rollout": side.found.attention.flow.numpy()}
            arrays["gradient_weighted"] = side.found.attention.relevance.numpy()
            np.savez_compressed(folder / f"attention{ending}.npz", **arrays)
    runs = [
        {"run": side.run, "strategy": side.strategy, "stages": side.stages, "given": side.given, **record}
        for side, _, record in figures
    ]
    content = json.dumps({"format": 1, "runs": runs}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "explanation.json").write_text(content + "\n", encoding="utf-8")
    page = render(
        "explain.html",
        "explain.js",
        sides=figures,
        text=sides[0].found.tokens.text,
        data={"sides": [_payload(side) for side in sides]},
        tolerance=TOLERANCE,
        most_probable=_most_probable,
        regression=sides[0].found.regression,
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    return Entry(folder.name, sides[0].found.tokens.text, [_prediction(side.found) for side in sides])


def _most_probable(probabilities: dict[str, float]) -> list[tuple[str, float]]:
    """Returns the labels with their probabilities, in the run's order; of more than MOST, the most probable, sorted."""
    found = list(probabilities.items())
    return found if len(found) <= MOST else sorted(found, key=lambda scored: -scored[1])[:MOST]


def write_index(entries: Sequence[Entry], runs: Sequence[str], folder: Path, regression: bool) -> None:
    """Writes the page that lists the explanations of several texts by these runs."""
    page = render("explain_index.html", "sort.js", entries=entries, runs=runs, regression=regression)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _write_figures(side: Side, folder: Path, ending: str) -> str | None:
    """Writes the figures of one run; returns the faithfulness curves as base64 SVG for the page."""
    found, tokens = side.found, side.found.tokens
    words = [*map(tokens.label, tokens.spans)]
    for name, attribution in found.attributions.items():
        title = f"{name.replace('_', ' ')} of {found.labels[0]}, {side.title}"
        figure = plots.importance(words, tokens.by_word(attribution.values[0]).tolist(), title, found.regression)
        save(figure, folder, f"{name}{ending}")
    if found.attention:
        weights = _chosen(found)
        save(plots.layer_means(weights, found.layers, tokens.names), folder, f"attention_layers{ending}")
        save(plots.all_heads(weights, found.layers, found.heads), folder, f"attention_heads{ending}")
    if not found.curves:
        return None
    return save(plots.faithfulness(found.curves, found.labels[0], found.regression), folder, f"faithfulness{ending}")


def _prediction(found: Explanation) -> tuple[str, float, list[str]]:
    """Returns the most probable label and its probability, or the first target and its number, and up to three words
    that support it most."""
    label, tokens = found.likeliest, found.tokens
    words = list(tokens.spans)
    top: list[str] = []
    for attribution in list(found.attributions.values())[:1]:
        values = tokens.by_word(attribution.values[0])
        order = values.argsort(descending=True).tolist()
        supporting = [words[i] for i in order if values[i] > 0]
        # Punctuation is left to the page.
        top = [tokens.label(word) for word in supporting if any(map(str.isalnum, tokens.word(word)))][:3]
        if top and found.labels[0] != label:  # other labels were chosen
            top[0] = f"for {found.labels[0]}: {top[0]}"
    return label, found.probabilities[label], top


def _chosen(found: Explanation) -> Any:
    """Returns the attention of the chosen layers and heads, float32 [layers, heads, tokens, tokens]."""
    assert found.attention
    return found.attention.weights[list(found.layers)][:, list(found.heads)].numpy()


def _payload(side: Side) -> dict[str, Any]:
    """Returns the data of one run for the page's script."""
    found, tokens = side.found, side.found.tokens
    return {
        "title": side.title,
        "text": tokens.text,
        "read": tokens.window.read if tokens.window else None,
        "labels": found.labels,
        "regression": found.regression,
        "tokens": tokens.names,
        "special": tokens.special.tolist(),
        "words": tokens.words,
        "second": tokens.sides[1][0] if len(tokens.sides) > 1 else None,
        "spans": [[number, *span] for number, span in tokens.spans.items()],
        "methods": {
            name: {
                "values": [[float(f"{v:.6g}") for v in row] for row in a.values.tolist()],
                "change": a.change.tolist(),
                "missing": a.missing.tolist(),
                "steps": a.steps,
            }
            for name, a in found.attributions.items()
        },
        "attention": _attention_payload(found) if found.attention else None,
    }


def _attention_payload(found: Explanation) -> dict[str, Any]:
    """Returns the packed attention maps: first [layers, heads + 2], where the last two of each layer are the mean and
    the maximum over all heads; then rollout, and the gradient-weighted map of each label."""
    assert found.attention
    weights = found.attention.weights[list(found.layers)]
    rows = torch.cat(
        [weights[:, list(found.heads)], weights.mean(1, keepdim=True), weights.amax(1, keepdim=True)], dim=1
    )
    maps = torch.cat([rows.flatten(0, 1), found.attention.flow[None], found.attention.relevance])
    peaks = maps.amax((1, 2))
    return {
        "layers": list(found.layers),
        "columns": [*(f"head {head}" for head in found.heads), "mean", "max"],
        "extra": ["rollout", *(f"gradient-weighted: {label}" for label in found.labels)],
        "heads": attention_record(found),
        "peaks": peaks.tolist(),
        "levels": LEVELS,
        "packed": base64.b64encode(pack(maps, peaks)).decode(),
    }


def pack(maps: Float[Tensor, "maps tokens tokens"], peaks: Float[Tensor, " maps"]) -> bytes:
    """Quantizes each weight to LEVELS relative to its map's maximum and compresses them with zlib: all low bytes, then
    all high bytes, which are mostly 0. With 8 bits, rounding would hide small differences between two runs."""
    scaled = maps / peaks.clamp_min(1e-12)[:, None, None]
    levels = (scaled.double() * LEVELS).round().int().flatten()
    return zlib.compress(torch.stack([levels % 256, levels // 256]).byte().numpy().tobytes())
