"""Text and tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Starts of links, images, code, emphasis and cells, and the backslash, which would undo an escape.
SIGNS = re.compile(r"([\\`\[\]*|~])")


def text(content: str) -> str:
    """Returns the content on one line, with Markdown and HTML escaped."""
    return SIGNS.sub(r"\\\1", " ".join(content.split()).replace("&", "&amp;").replace("<", "&lt;"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table. Cells may contain any text; it is escaped."""
    shown = [f"| {' | '.join(map(text, row))} |" for row in (header, *rows)]
    return [shown[0], f"|{' --- |' * len(header)}", *shown[1:]]
