"""Writes tables in parts, in the file formats that can be read; a file appears only when it is complete."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

from src.errors import UserError
from src.files.atomic import json_values
from src.files.staged import staged
from src.tables.opening import STDIN

STDOUT = STDIN  # both are called `-`


Columns = dict[str, list[Any]]


Write = Callable[[Columns], None]


# What a spreadsheet runs as a formula. Such cells, and those that have apostrophes before one, are prefixed with an
# apostrophe; removing one apostrophe from every such cell restores the original.
FORMULA = re.compile(r"'*[=+\-@\t\r]")


@contextlib.contextmanager
def open_table(path: Path, remedy: str = "Choose another: output=…") -> Iterator[Write]:
    """Yields a function that appends rows to a file, which appears under its name at the end of the block.

    Args:
        path: its extension decides the format; `-` is standard output, as JSONL.
        remedy: what helps where it cannot be written.

    Raises:
        UserError: the extension is unknown, the file cannot be written, or rows have other columns than those before.
    """
    if path == STDOUT:
        yield _json_lines(sys.stdout)
        return
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UserError(
            f"output must be - or end with one of {', '.join(WRITERS)}; got {path}.\nChoose one of these formats."
        )
    with staged(path, remedy) as unfinished:
        unfinished.touch()  # some formats are written at the end, too late to learn that they cannot be
        with writer(unfinished) as write:
            yield write


@contextlib.contextmanager
def _write_csv(path: Path, delimiter: str = ",") -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer, header = csv.writer(file, delimiter=delimiter), _Header(path)

        def write(columns: Columns) -> None:
            if header.is_new(columns):
                writer.writerow([harmless(name) for name in columns])
            rows = zip(*columns.values(), strict=True)
            writer.writerows([harmless(_cell(value)) for value in row] for row in rows)

        yield write


def _write_tsv(path: Path) -> AbstractContextManager[Write]:
    return _write_csv(path, delimiter="\t")


@contextlib.contextmanager
def _write_json_lines(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield _json_lines(file)


def _json_lines(file: TextIO) -> Write:
    def write(columns: Columns) -> None:
        for row in zip(*columns.values(), strict=True):
            record = json_values(dict(zip(columns, row, strict=True)))
            file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        file.flush()

    return write


@contextlib.contextmanager
def _write_xlsx(path: Path) -> Iterator[Write]:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet, header = book.create_sheet("predictions"), _Header(path)

    def cell(value: Any) -> Any:
        value = _cell(value)
        if not isinstance(value, str):
            return value
        made = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value))
        made.data_type = "s"  # text, whatever it looks like
        made.quotePrefix = bool(FORMULA.match(value))
        return made

    def write(columns: Columns) -> None:
        if header.is_new(columns):
            sheet.append([cell(name) for name in columns])
        for row in zip(*columns.values(), strict=True):
            sheet.append([cell(value) for value in row])

    yield write
    book.save(path)


@contextlib.contextmanager
def _write_parquet(path: Path) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    with contextlib.ExitStack() as opened:
        found: list[Any] = []  # the writer

        def write(columns: Columns) -> None:
            try:
                table = pyarrow.table(columns, schema=found[0].schema if found else None)
            except (pyarrow.ArrowException, KeyError) as error:
                raise UserError(
                    f"Every column of a Parquet file must have a single type; {error}.\n"
                    "Choose a format that takes any: output=….jsonl"
                ) from None
            if not found:
                # A column without a value yet may get text.
                empty = {f.name for f in table.schema if pyarrow.types.is_null(f.type)}
                kinds = [(f.name, pyarrow.string() if f.name in empty else f.type) for f in table.schema]
                table = table.cast(pyarrow.schema(kinds))
                found.append(opened.enter_context(pyarrow.parquet.ParquetWriter(path, table.schema)))
            found[0].write_table(table)

        yield write


WRITERS: dict[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_json_lines,
    ".xlsx": _write_xlsx,
    ".parquet": _write_parquet,
}


class _Header:
    """The column names of a file that has them on top."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] | None = None

    def is_new(self, columns: Columns) -> bool:
        """Whether the names are still to be written.

        Raises:
            UserError: there are other columns than in the rows before.
        """
        first, self.names = self.names is None, self.names or list(columns)
        if self.names != list(columns):
            other = sorted(set(self.names) ^ set(columns))
            raise UserError(
                f"Every row must have the same keys to become a {self.path.suffix} row; some lack {', '.join(other)}.\n"
                "Choose a format that takes any: output=….jsonl"
            )
        return first


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def harmless(value: Any) -> Any:
    """Returns a cell of a CSV file; text that a spreadsheet would run as a formula is prefixed with an apostrophe."""
    if not isinstance(value, str) or not FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value  # a number, such as -3
