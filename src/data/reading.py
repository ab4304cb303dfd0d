"""What each kind of file holds, row by row. What cannot be read is refused by file and row."""

from __future__ import annotations

import codecs
import contextlib
import csv
import itertools
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from src.config import UserError

LARGEST_FIELD = 1_000_000  # characters in one CSV field
LARGEST_SHEET = 1 << 30  # bytes that an XLSX file may unpack to
LARGEST_RATIO = 200  # of unpacked to packed bytes in an XLSX file
STDIN = Path("-")  # standard input, a line of JSON a row

Row = tuple[int, dict[str, Any]]  # its number, and its values by column; none for a blank row
Content = tuple[list[str], Iterator[Row]]  # the names of the columns where they stand on top, and the rows


def name_of(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def read_csv(path: Path, delimiter: str = ",") -> Content:
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)

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
    _check_header(path, header)

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
        for number, line in enumerate(_lines(path), start=1):
            try:
                record = _parsed(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"Every line of {name_of(path)} must be a JSON object; line {number} is not: {error}."
                ) from None
            if not isinstance(record, dict):
                raise UserError(
                    f'Every line of {name_of(path)} must be a JSON object such as {{"text": "…"}}; '
                    f"line {number} is not."
                )
            yield number, record

    return [], rows()


def _parsed(line: str) -> Any:
    record = json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    if "\\u" in line and re.search("[\ud800-\udfff]", json.dumps(record, ensure_ascii=False)):
        raise ValueError("it escapes half of a character, a lone surrogate")
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in pairs}) < len(pairs):
        raise ValueError(f"the key {_repeated([k for k, _ in pairs])} occurs twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def read_xlsx(path: Path) -> Content:
    from openpyxl import load_workbook

    _check_archive(path)

    def records() -> Iterator[list[Any]]:
        try:
            with contextlib.closing(load_workbook(path, read_only=True, data_only=True)) as book:
                yield from (list(row) for row in book.worksheets[0].iter_rows(values_only=True))
        except Exception as error:
            # openpyxl raises anything on damaged workbooks, from KeyError to ParseError.
            raise UserError(
                f"{path} must be an Excel workbook; it cannot be read: {error}.\nSave it again as .xlsx or .csv."
            ) from None

    found = records()
    header = ["" if cell is None else str(cell).strip() for cell in next(found, [])]
    while header and not header[-1]:
        header.pop()
    _check_header(path, header)

    def rows() -> Iterator[Row]:
        for number, record in enumerate(found, start=2):
            cells = record[: len(header)]
            filled = ("" if cell is None else cell for cell in cells)
            blank = all(cell is None for cell in cells)
            yield number, {} if blank else dict(itertools.zip_longest(header, filled, fillvalue=""))

    return header, rows()


def _check_archive(path: Path) -> None:
    """An XLSX file is a ZIP archive, and a small one can unpack to terabytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        raise UserError(
            f"{path} must be an Excel workbook; it is not (an old .xls, a password or a renamed file?).\n"
            "Save it again as .xlsx or .csv."
        ) from None
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > LARGEST_SHEET or unpacked > LARGEST_RATIO * max(path.stat().st_size, 1 << 16):
        raise UserError(
            f"{path} must be a plain workbook; it unpacks from "
            f"{path.stat().st_size:,} to {unpacked:,} bytes, as a zip bomb "
            "does.\nIf the data is really that large, save it as .parquet or .csv."
        )


def read_parquet(path: Path) -> Content:
    import pyarrow
    import pyarrow.parquet

    def refuse(error: Exception) -> UserError:
        return UserError(f"{path} must be a Parquet file; it cannot be read: {error}.")

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise refuse(error) from None
    header = file.schema_arrow.names
    _check_header(path, header)

    def rows() -> Iterator[Row]:
        try:
            records = (record for batch in file.iter_batches() for record in batch.to_pylist())
            yield from enumerate(records, start=1)
        except (pyarrow.ArrowException, OSError) as error:
            raise refuse(error) from None

    return header, rows()


def read_lines(path: Path) -> Content:
    lines = ((number, line.removesuffix("\n")) for number, line in enumerate(_lines(path), start=1))
    return ["text"], ((number, {"text": line} if line.strip() else {}) for number, line in lines)


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, each with its end as a single line feed."""
    offset, count = 0, 0
    with contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as file:
        for raw in file:
            content = raw if offset else raw.removeprefix(codecs.BOM_UTF8)
            try:
                text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
            except UnicodeDecodeError as error:
                line = count + 1 + content[: error.start].count(b"\r")
                raise UserError(
                    f"{name_of(path)} must be UTF-8; byte {offset + error.start} on line {line} is not.\n"
                    f"Convert it: iconv -f {_likely_encoding(raw)} -t UTF-8 {path} > converted{path.suffix}"
                ) from None
            if "\x00" in text:
                raise UserError(
                    f"{name_of(path)} must be a text file; it holds zero bytes.\n"
                    "Is it another kind of file with this ending?"
                )
            offset += len(raw)
            # Old files end their lines with carriage returns alone, and are one line to Python.
            lines = text.split("\n")
            count += len(lines) - 1
            yield from (f"{line}\n" for line in lines[:-1])
            if lines[-1]:
                yield lines[-1]


def _likely_encoding(content: bytes) -> str:
    return "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "ISO-8859-1"


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not any(name.strip() for name in header):
        raise UserError(f"The first row of {path} must name the columns; it is blank.")
    if name := _repeated(header):
        raise UserError(
            f"The column names of {path} must differ; {name!r} occurs {header.count(name)} times.\nRename one."
        )


def _repeated(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


READERS: dict[str, Callable[[Path], Content]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_jsonl,
    ".xlsx": read_xlsx,
    ".parquet": read_parquet,
    ".txt": read_lines,
}
