"""Figures: colours, short names, text that is not parsed as a formula, and files that are written atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from src.files.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0072b2", "#d55e00"  # distinguishable for colour-blind readers


LONGEST = 36  # characters of a displayed name of a group or label


MOST = 40  # labels or groups in a figure


def literal(text: str) -> str:
    """Escapes text so that matplotlib does not parse it as a formula."""
    return text.replace("$", r"\$")


def short(name: str) -> str:
    """Shortens and escapes a name: groups of runs that differ in many settings have long ones."""
    return literal(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…")


def write_png(figure: Figure, file: Path, dpi: int) -> None:
    """Writes a figure as PNG, completely or not at all."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    write_atomic(file, drawn.getvalue())
