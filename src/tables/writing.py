"""Writes tables in parts, in the file formats that can be read; a file appears only when it is complete."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, time
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TextIO

from src.errors import UserError
from src.files.atomic import json_values
from src.files.staged import staged
from src.tables.opening import STDIN

STDOUT = STDIN  # both are called `-`


Columns = dict[str, list[Any]]


Write = Callable[[Columns], None]


# What columns hold, by name: texts, lists of texts, or numbers. Only those need one that may begin without a value.
Types = Mapping[str, Literal["text", "texts", "number"]]
UNKNOWN: Types = MappingProxyType({})


LONGEST = 32_767  # characters in a cell of a workbook


# What a spreadsheet runs as a formula. Such cells, and those that have apostrophes before one, are prefixed with an
# apostrophe; removing one apostrophe from every such cell restores the original.
FORMULA = re.compile(r"'*[=+\-@\t\r]")


@contextlib.contextmanager
def open_table(path: Path, remedy: str = "Choose another: output=…", types: Types = UNKNOWN) -> Iterator[Write]:
    """Yields a function that appends rows to a file, which appears under its name at the end of the block.

    Args:
        path: its extension decides the format; `-` is standard output, as JSONL.
        remedy: what helps where it cannot be written.
        types: of columns that may have no value in the first rows.

    Raises:
        UserError: the extension is unknown, the file cannot be written, rows have other columns than those before, or
            the format has no place for a value.
    """
    if path == STDOUT:
        yield _json_lines(sys.stdout)
        return
    kind = path.suffix.lower()
    writer = WRITERS.get(kind)
    if writer is None:
        raise UserError(
            f"output must be - or end with one of {', '.join(WRITERS)}; got {path}.\nChoose one of these formats."
        )
    with staged(path, remedy) as unfinished:
        unfinished.touch()  # some formats are written at the end, too late to learn that they cannot be
        with writer(unfinished, types) as write:
            yield write if kind == ".jsonl" else _alike(write, kind)


def _alike(write: Write, kind: str) -> Write:
    """Returns a function that gives all rows the columns of the first ones, in their order.

    Args:
        write: appends rows to a file.
        kind: its extension.
    """
    names: list[str] = []

    def arranged(columns: Columns) -> None:
        names.extend([] if names else columns)
        if other := sorted({*names} ^ {*columns}):
            raise UserError(
                f"Every row must have the same keys to become a {kind} row; some lack {', '.join(other)}.\n"
                "Choose a format that takes any: output=….jsonl"
            )
        write({name: columns[name] for name in names})

    return arranged


@contextlib.contextmanager
def _write_csv(path: Path, _: Types, delimiter: str = ",") -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)

        def write(columns: Columns) -> None:
            if not file.tell():
                writer.writerow([harmless(name) for name in columns])
            rows = zip(*columns.values(), strict=True)
            writer.writerows([harmless(_cell(value)) for value in row] for row in rows)

        yield write


def _write_tsv(path: Path, types: Types) -> AbstractContextManager[Write]:
    return _write_csv(path, types, delimiter="\t")


@contextlib.contextmanager
def _write_json_lines(path: Path, _: Types) -> Iterator[Write]:
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
def _write_xlsx(path: Path, _: Types) -> Iterator[Write]:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("predictions")
    begun = False

    def write(columns: Columns) -> None:
        nonlocal begun
        if not begun:
            sheet.append([_xlsx_cell(sheet, name) for name in columns])
        begun = True
        for row in zip(*columns.values(), strict=True):
            sheet.append([_xlsx_cell(sheet, value) for value in row])

    try:
        yield write
    except BaseException:
        sheet.close()  # an open one would complain when it is collected
        raise
    book.save(path)


def _xlsx_cell(sheet: Any, value: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    value = _cell(value)
    if isinstance(value, datetime | time) and value.tzinfo:
        value = value.isoformat()  # workbooks have no time zones
    if not isinstance(value, str):
        return value
    if len(value) > LONGEST:
        raise UserError(
            f"A cell of an .xlsx file must have at most {LONGEST:,} characters; one has {len(value):,}.\n"
            "Choose a format without a limit: output=….csv"
        )
    made = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value))
    made.data_type = "s"  # text, whatever it looks like
    made.quotePrefix = bool(FORMULA.match(value))
    return made


@contextlib.contextmanager
def _write_parquet(path: Path, types: Types) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    with contextlib.ExitStack() as opened:
        found: list[Any] = []  # the writer

        def write(columns: Columns) -> None:
            try:
                table = pyarrow.table(columns, schema=found[0].schema if found else None)
                if not found:
                    table = table.cast(_parquet_schema(table.schema, types))
                    found.append(opened.enter_context(pyarrow.parquet.ParquetWriter(path, table.schema)))
            except (pyarrow.ArrowException, OverflowError) as error:
                raise UserError(
                    f"Every column of a Parquet file must have a single type; {error}.\n"
                    "Choose a format that takes any: output=….jsonl"
                ) from None
            found[0].write_table(table)

        yield write


def _parquet_schema(first: Any, types: Types) -> Any:
    """Returns the schema of the first rows with these types; of other columns, those without a value yet may get
    text."""
    import pyarrow

    known = {"text": pyarrow.string(), "texts": pyarrow.list_(pyarrow.string()), "number": pyarrow.float64()}
    given = {name: known[kind] for name, kind in types.items()}
    kinds = [
        (field.name, given.get(field.name, pyarrow.string() if pyarrow.types.is_null(field.type) else field.type))
        for field in first
    ]
    return pyarrow.schema(kinds)


WRITERS: dict[str, Callable[[Path, Types], AbstractContextManager[Write]]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_json_lines,
    ".xlsx": _write_xlsx,
    ".parquet": _write_parquet,
}


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
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
