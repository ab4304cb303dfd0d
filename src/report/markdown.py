"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table. A cell may hold anything, and stays one cell and text."""
    lines = [header, *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in lines]
    shown = [f"| {' | '.join(row)} |" for row in cells]
    return [shown[0], f"|{' --- |' * len(header)}", *shown[1:]]
