"""Reads the lines of a text file, with any line ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from src.errors import UserError
from src.tables.content import Layout
from src.tables.encodings import read_text
from src.tables.opening import name_of

LONGEST_LINE = 1 << 24  # characters


def read_lines(path: Path, layout: Layout) -> Iterator[str]:
    """Yields the lines of a text file, each ending with a line feed.

    Raises:
        UserError: it is not text, not in its encoding, or a damaged or hostile archive.
        OSError: it cannot be read.
    """
    return split_lines(path, read_text(path, layout))


def split_lines(path: Path, pieces: Iterator[str]) -> Iterator[str]:
    """
    Args:
        path: of the file.
        pieces: its text, as `read_text` gives it.

    Raises:
        UserError: a line is too long.
    """
    rest, count = "", 0
    for text in pieces:
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            count += 1
            _check_length(path, line, count)
            yield f"{line}\n"
        _check_length(path, rest, count + 1)
    if rest:
        yield rest


def _check_length(path: Path, line: str, number: int) -> None:
    if len(line) > LONGEST_LINE:
        raise UserError(
            f"A line of {name_of(path)} may have at most {LONGEST_LINE:,} characters; line {number} has more.\n"
            "Is it another file format with this extension?"
        )
