"""Reads JSON files: one object per line, or a list of objects."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.errors import UserError, listed
from src.tables.content import Content, Layout, Row
from src.tables.encodings import read_text
from src.tables.lines import LONGEST_LINE, split_lines
from src.tables.opening import name_of

BLANK = " \t\n\r"  # to JSON


BLANKS = re.compile(f"[{BLANK}]*")


MOST_NAMED = 5  # columns


FORMS = "Write each row as one object on one line, without commas between them, or all in one list: [{…}, {…}]."


def read_json(path: Path, layout: Layout) -> Content:
    pieces = read_text(path, layout)
    begun: list[str] = []
    for piece in pieces:
        begun.append(piece)
        if piece.strip(BLANK) or sum(map(len, begun)) > LONGEST_LINE:
            break
    text = itertools.chain(begun, pieces)
    if begun and begun[-1].lstrip(BLANK).startswith("["):
        return Content(None, _List(path, text).rows(), unit="row")
    return Content(None, _lines(path, split_lines(path, text)))


def _lines(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    only: dict[str, Any] | None = {}  # object so far
    for number, line in enumerate(lines, start=1):
        try:
            record = _checked(json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse), line)
        except (ValueError, RecursionError) as error:
            if not line.strip():
                yield number, {}
                continue
            raise UserError(
                f"Every line of {name_of(path)} must be a JSON object; line {number} is not: {_said(error)}.\n{FORMS}"
            ) from None
        if not isinstance(record, dict):
            raise UserError(
                f'Every line of {name_of(path)} must be a JSON object such as {{"text": "…"}}; '
                f"line {number} is not.\n{FORMS}"
            )
        only = record if only == {} else None
        yield number, record
    if only and all(isinstance(value, dict | list) for value in only.values()):
        held = listed(list(only)[:MOST_NAMED])
        raise UserError(
            f"{name_of(path)} must have an object for each row; it is one that holds whole columns, or lists ({held})."
            "\nWrite it by rows: in pandas df.to_json(FILE, orient='records', lines=True)"
        )


class _List:
    """A list of objects, of which one is in memory at a time, with some of the text behind it.

    Args:
        path: of the file.
        pieces: its text.
    """

    def __init__(self, path: Path, pieces: Iterator[str]) -> None:
        self.path, self.pieces = path, pieces
        self.decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
        self.text, self.at = "", 0  # what has been read last, and how much of it is done

    def rows(self) -> Iterator[Row]:
        """
        Raises:
            UserError: something else is there than a list of objects.
        """
        self._pass("[")
        if self._next() != "]":
            for number in itertools.count(1):
                yield number, self._object(number)
                if self._next() != ",":
                    break
                self._pass(",")
        self._pass("]")
        if self._next():
            raise self._refusal("there is something after it")

    def _object(self, number: int) -> dict[str, Any]:
        if self._next() != "{":
            raise self._refusal(f"row {number} is not an object")
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.at)
                record: dict[str, Any] = _checked(found, self.text[self.at : end])
            except json.JSONDecodeError as error:
                # It may only go on in what is not read yet.
                if len(self.text) - self.at > LONGEST_LINE:
                    raise self._refusal(f"row {number} has more than {LONGEST_LINE:,} characters") from None
                if not self._more():
                    raise self._refusal(f"row {number} is not an object: {error.msg}") from None
            except (ValueError, RecursionError) as error:
                raise self._refusal(f"row {number} is not an object: {error}") from None
            else:
                self.at = end
                return record

    def _next(self) -> str:
        """The next character that is not blank, which stays; nothing at the end of the file."""
        while True:
            found = BLANKS.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _pass(self, mark: str) -> None:
        if self._next() != mark:
            raise self._refusal(f"{mark!r} is missing{'' if self._next() else ' at its end'}")
        self.at += 1

    def _more(self) -> bool:
        """Reads on, as much again as is not done yet, so that an object is not tried for each of its pieces."""
        rest = [self.text[self.at :]]
        read = 0
        for piece in self.pieces:
            rest.append(piece)
            read += len(piece)
            if read > len(rest[0]):
                break
        self.text, self.at = "".join(rest), 0
        return read > 0

    def _refusal(self, what: str) -> UserError:
        return UserError(f"{name_of(self.path)} must be a list of JSON objects; {what}.\n{FORMS}")


def _checked(record: Any, text: str) -> Any:
    """
    Args:
        record: as it was read.
        text: that it was read from.

    Raises:
        ValueError: it holds what is no text.
    """
    if "\\u" in text and re.search("[\ud800-\udfff]", json.dumps(record, ensure_ascii=False)):
        raise ValueError("it escapes half of a character, a lone surrogate")
    return record


def _said(error: Exception) -> str:
    """What is wrong with a line of its own, in which Python counts lines too."""
    return f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {key!r} occurs twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")
