"""The lines of a text file, in UTF-8, whatever it ends them with."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.errors import UserError

STDIN = Path("-")  # standard input
CHUNK = 1 << 20  # bytes read at a time
LONGEST_LINE = 1 << 24  # characters


def name_of(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, each with its end as a single line feed.

    Raises:
        UserError: it is not UTF-8, or no text at all.
        OSError: it cannot be read.
    """
    rest, count = "", 0
    for text in _texts(path):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            count += 1
            _check(path, line, count)
            yield f"{line}\n"
        _check(path, rest, count + 1)
    if rest:
        yield rest


def _check(path: Path, line: str, number: int) -> None:
    if "\0" in line:
        raise UserError(
            f"{name_of(path)} must be a text file; line {number} holds zero bytes.\n"
            "Is it another kind of file with this ending, or UTF-16 (iconv -f UTF-16LE -t UTF-8)?"
        )
    if len(line) > LONGEST_LINE:
        raise UserError(
            f"A line of {name_of(path)} may have at most {LONGEST_LINE:,} characters; line {number} has more.\n"
            "Is it another kind of file with this ending?"
        )


def _texts(path: Path) -> Iterator[str]:
    """The text of a file in pieces, with line feeds as its only line ends."""
    # Old files end their lines with carriage returns alone.
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    size, lines = 0, 1
    stdin: Any = sys.stdin.buffer
    with contextlib.nullcontext(stdin) if path == STDIN else path.open("rb") as file:
        chunk = b"begin"
        while chunk:
            chunk = file.read1(CHUNK)
            size += len(chunk)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, size, lines) from None
            lines += text.count("\n")
            yield text


def _not_utf8(path: Path, error: UnicodeDecodeError, size: int, lines: int) -> UserError:
    """
    Args:
        path: of the file.
        error: in the last bytes that were read.
        size: how many bytes have been read.
        lines: how many lines the bytes before these hold, with the one that goes on in them.
    """
    before = error.object[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line = lines + before.count(b"\n")
    place = size - len(error.object) + error.start
    marked = place == 0 and error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return UserError(
        f"{name_of(path)} must be UTF-8; byte {place} on line {line} is not.\n"
        f"Convert it: iconv -f {'UTF-16' if marked else 'ISO-8859-1'} -t UTF-8 {path} > converted{path.suffix}"
    )
