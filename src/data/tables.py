"""Reads one file as a table: columns, with row numbers; whole, or part by part."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.data.lines import STDIN, name_of
from src.data.reading import LARGEST_FIELD, READERS, Content, Row, read_jsonl, repeated
from src.errors import UserError, listed, nearest

HEADLESS = (".jsonl", ".txt")  # files whose first line is a row
HALF = re.compile("[\ud800-\udfff]")  # of a character that takes two 16-bit units


@dataclass(frozen=True)
class Table:
    """The columns of one file, and for each row the number by which its author finds it."""

    source: str
    columns: dict[str, list[Any]]
    rows: list[int]
    unit: str = "line"  # what a row number counts

    def column(self, name: str, key: str) -> list[Any]:
        """The values of a column.

        Raises:
            UserError: there is no such column; `key` is the config key that named it.
        """
        if name in self.columns:
            return self.columns[name]
        hint = f"{nearest(repr(name), map(repr, self.columns))} Name one: {key}=…"
        if len(self.columns) == 1 and (mark := next((m for m in ";\t|," if m in next(iter(self.columns))), None)):
            hint = (
                f"Columns seem to be divided by {mark!r}; save as .csv with commas between them, or as .tsv with tabs."
            )
        raise UserError(f"{key} must name a column of {self.source}; got {name!r}.\n{hint}")

    def texts(self, name: str, key: str) -> list[str]:
        """The values of a column as texts; where a row has none (null or NaN), an empty one.

        Raises:
            UserError: there is no such column, or a row has something there that is no text.
        """
        values = self.column(name, key)
        self.refuse(
            [i for i, value in enumerate(values) if isinstance(value, list | dict | bytes)],
            f"a list, an object or bytes for a text in column {name!r}",
            "Make texts of them.",
        )
        texts = ["" if value is None or value != value else str(value) for value in values]
        self.refuse(
            [i for i, text in enumerate(texts) if len(text) > LARGEST_FIELD],
            f"more than {LARGEST_FIELD:,} characters in column {name!r}",
            "Is it several texts in one?",
        )
        halves = [i for i, text in enumerate(texts) if not text.isascii() and HALF.search(text)]
        self.refuse(halves, f"half of a character, a lone surrogate, in column {name!r}", "Write the whole character.")
        return texts

    def refuse(self, indices: Sequence[int], problem: str, fix: str = "Fill them in or delete them.") -> None:
        """
        Args:
            indices: of rows that cannot be used; with none nothing happens.
            problem: what they have.
            fix: what the user can do.

        Raises:
            UserError: there is such a row.
        """
        if indices:
            shown = ", ".join(str(self.rows[i]) for i in indices[:5]) + (", …" if len(indices) > 5 else "")
            count = f"{len(indices)} rows" if len(indices) > 1 else "1 row"
            raise UserError(
                f"Every row must be usable; {self.source} has {count} with {problem}: {self.unit} {shown}.\n{fix}"
            )


def read_table(path: Path) -> Table:
    """One file as a table; blank rows are left out.

    Raises:
        UserError: the file's kind is not known, or its content is not of that kind, or it holds no rows.
    """
    header, rows = _open(path)
    kept = [(number, values) for number, values in _readable(path, rows) if values]
    if not kept:
        names = None if path.suffix.lower() in HEADLESS else header
        named = f"a header ({listed(names)}) and nothing below" if names else "nothing but blank lines"
        raise UserError(f"{path} must hold rows; it has {named}.\nIs it the right file?")
    return _table(path, header, kept)


def stream_table(path: Path, size: int) -> Iterator[Table]:
    """One file as tables of so many rows, of which only one is in memory. Blank rows are kept; they have no values.

    Raises:
        UserError: as `read_table`, as soon as the problem is met.
    """
    header, rows = _open(path)
    found = _readable(path, rows)
    empty = True
    while part := list(itertools.islice(found, size)):
        empty = False
        yield _table(path, header, part)
    if empty:
        raise UserError(f"{name_of(path)} must hold rows; it has none.\nIs it the right file?")


def _open(path: Path) -> Content:
    if path != STDIN and path.is_dir():
        raise UserError(f"{path} must be a file; it is a folder.\nName a file in it.")
    reader = read_jsonl if path == STDIN else READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} must be one of {kinds()}; it ends with {path.suffix or 'nothing'}.\nSave it as one of these."
        )
    try:
        if path != STDIN and path.stat().st_size == 0:
            what = "lines" if path.suffix.lower() in HEADLESS else "a header and rows"
            raise UserError(f"{path} must hold {what}; it is empty.\nIs it the right file?")
        header, rows = reader(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if header is not None:
        _check_header(path, header)
    return header, rows


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not any(name.strip() for name in header):
        raise UserError(
            f"The first row of {path} must name the columns; it is blank.\nWrite their names above the rows."
        )
    if (name := repeated(header)) is not None:
        raise UserError(
            f"The column names of {path} must differ; {name!r} occurs {header.count(name)} times.\nRename one."
        )


def _readable(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {error.strerror or error}.\nCheck the file and its permissions.")


def _table(path: Path, header: Sequence[str] | None, rows: Sequence[Row]) -> Table:
    names = dict.fromkeys([*(header or ()), *(key for _, values in rows for key in values)])
    columns = {name: [values.get(name) for _, values in rows] for name in names}
    unit = "row" if path.suffix.lower() in (".xlsx", ".parquet") else "line"
    return Table(name_of(path), columns, [number for number, _ in rows], unit)


def kinds() -> str:
    """The endings of the files that can be read."""
    return ", ".join(READERS)
