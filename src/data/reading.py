"""What each kind of file holds, row by row. What cannot be read is refused by file and row."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from src.data.lines import name_of, read_lines
from src.data.workbooks import read_workbook
from src.errors import UserError, reason

LARGEST_FIELD = 1_000_000  # characters in one field

Row = tuple[int, dict[str, Any]]  # its number, and its values by column; none for a blank row
# The names of the columns, or None where each row has its own, and the rows.
Content = tuple[list[str] | None, Iterator[Row]]


def read_csv(path: Path, delimiter: str = ",") -> Content:
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader(read_lines(path), delimiter=delimiter, strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        try:
            line = 1
            for record in reader:
                yield line, record
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(
                f"{path} must be a well-formed table; line {reader.line_num}: {error}.\n"
                "Is a quote left open, or is it another kind of file?"
            ) from None

    found = records()
    header = [name.strip() for name in next(found, (1, []))[1]]

    def rows() -> Iterator[Row]:
        for line, record in found:
            if record and len(record) != len(header):
                raise UserError(
                    f"Every row of {path} must have the header's "
                    f"{len(header)} fields; line {line} has {len(record)}.\n"
                    "Put fields that contain the delimiter or quotes between double quotes."
                )
            yield line, dict(zip(header, record, strict=False))

    return header, rows()


def read_tsv(path: Path) -> Content:
    return read_csv(path, delimiter="\t")


def read_jsonl(path: Path) -> Content:
    def rows() -> Iterator[Row]:
        for number, line in enumerate(read_lines(path), start=1):
            try:
                record = _parsed(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"Every line of {name_of(path)} must be a JSON object; line {number} is not: {error}.\n"
                    "Write each row as one object on one line, without commas between them."
                ) from None
            if not isinstance(record, dict):
                raise UserError(
                    f'Every line of {name_of(path)} must be a JSON object such as {{"text": "…"}}; '
                    f"line {number} is not.\nWrite each row as one object on one line."
                )
            yield number, record

    return None, rows()


def _parsed(line: str) -> Any:
    record = json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    if "\\u" in line and re.search("[\ud800-\udfff]", json.dumps(record, ensure_ascii=False)):
        raise ValueError("it escapes half of a character, a lone surrogate")
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if (key := repeated(key for key, _ in pairs)) is not None:
        raise ValueError(f"the key {key!r} occurs twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def read_parquet(path: Path) -> Content:
    import pyarrow.parquet

    def refuse(error: Exception) -> UserError:
        # Damaged files raise anything, from ArrowInvalid to UnicodeDecodeError.
        why = reason(error)
        return UserError(f"{path} must be a Parquet file; it cannot be read: {why}.\nWrite it again, or as .jsonl.")

    try:
        file = pyarrow.parquet.ParquetFile(path)
        header = file.schema_arrow.names
    except Exception as error:
        raise refuse(error) from None

    def rows() -> Iterator[Row]:
        try:
            records = (record for batch in file.iter_batches() for record in batch.to_pylist())
            yield from enumerate(records, start=1)
        except Exception as error:
            raise refuse(error) from None

    return header, rows()


def read_plain(path: Path) -> Content:
    lines = ((number, line.removesuffix("\n")) for number, line in enumerate(read_lines(path), start=1))
    return ["text"], ((number, {"text": line} if line.strip() else {}) for number, line in lines)


def repeated(names: Iterable[str]) -> str | None:
    """The first of the names that occur more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


READERS: dict[str, Callable[[Path], Content]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_jsonl,
    ".xlsx": read_workbook,
    ".parquet": read_parquet,
    ".txt": read_plain,
}
