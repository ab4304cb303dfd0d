"""Reads one file as a table: columns, with row numbers; whole, or part by part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config import UserError, nearest
from src.data.reading import READERS, STDIN, Content, Row, name_of, read_jsonl


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
        hint = nearest(name, self.columns)
        listed = f"{self.source} has the columns {', '.join(map(repr, self.columns))}"
        if len(self.columns) == 1 and (mark := next((m for m in ";\t|" if m in next(iter(self.columns))), None)):
            hint = f"Columns seem to be divided by {mark!r}; save the file with commas, or with tabs as .tsv."
        raise UserError(f"{key} must name a column; got {name!r}. {listed}.\n{hint}")


def read_table(path: Path) -> Table:
    """One file as a table; blank rows are left out.

    Raises:
        UserError: the file's kind is not known, or its content is not of that kind, or it holds no rows.
    """
    header, rows = _open(path)
    kept = [(number, values) for number, values in _readable(path, rows) if values]
    if not kept:
        named = f"a header ({', '.join(header)}) and nothing below" if header else "nothing but blank rows"
        raise UserError(f"{path} must hold rows; it has {named}.")
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
        raise UserError(f"{name_of(path)} must hold rows; it has none.")


def _open(path: Path) -> Content:
    reader = read_jsonl if path == STDIN else READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} must be one of {kinds()}; it ends with {path.suffix or 'nothing'}.\nSave it as one of these."
        )
    try:
        if path != STDIN and path.stat().st_size == 0:
            raise UserError(f"{path} must hold a header and rows; it is empty.")
        return reader(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _readable(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {error.strerror or error}.\nCheck the file and its permissions.")


def _table(path: Path, header: Sequence[str], rows: Sequence[Row]) -> Table:
    names = dict.fromkeys([*header, *(key for _, values in rows for key in values)])
    columns = {name: [values.get(name) for _, values in rows] for name in names}
    unit = "row" if path.suffix.lower() in (".xlsx", ".parquet") else "line"
    return Table(name_of(path), columns, [number for number, _ in rows], unit)


def kinds() -> str:
    """The endings of the files that can be read."""
    return ", ".join(READERS)
