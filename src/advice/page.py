"""The page of advice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src.advice import plots
from src.advice.advice import Advice
from src.advice.tables import issue_rows, tables
from src.advice.words import sentences
from src.pages.html import render, save

SHOWN = 50  # labels that look wrong


def write_page(advice: Advice, encoders: Sequence[str], command: str, folder: Path) -> Path:
    """Writes advise.html and its figures as PNG and SVG in `plots/`; returns the page.

    Args:
        advice: on one backbone.
        encoders: what to say of several backbones; empty for one.
        command: that tries what is advised.
        folder: where to write.
    """
    figures = [
        (
            "What a linear head reaches on each layer",
            "Bars: 95% intervals for other texts. The band is the margin below the best layer, the star "
            "the advised one.",
            save(plots.by_layer(advice), folder / "plots", "layers"),
        ),
        (
            "What that costs",
            "Dots: linear heads on frozen layers, measured, with 95% intervals for other texts. Lines: what an epoch "
            "of a strategy that trains layers takes; its score is not known before it is tried.",
            save(plots.by_cost(advice), folder / "plots", "costs"),
        ),
    ]
    page = render(
        "advise.html",
        "sort.js",
        advice=advice,
        sentences=[*encoders, *sentences(advice)],
        command=command,
        tables=tables(advice),
        figures=figures,
        issues=issue_rows(advice)[:SHOWN],
    )
    file = folder / "advise.html"
    file.write_text(page, encoding="utf-8")
    return file
