"""Text and tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What could begin a link, a picture, code, emphasis or another cell, and the backslash that would undo an escape.
SIGNS = re.compile(r"([\\`\[\]*|~])")


def text(content: str) -> str:
    """The same on one line, without a meaning in Markdown or HTML."""
    return SIGNS.sub(r"\\\1", " ".join(content.split()).replace("&", "&amp;").replace("<", "&lt;"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table. A cell may hold anything, and stays one cell and text."""
    shown = [f"| {' | '.join(map(text, row))} |" for row in (header, *rows)]
    return [shown[0], f"|{' --- |' * len(header)}", *shown[1:]]
