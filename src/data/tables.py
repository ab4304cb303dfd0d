"""Reads one file as a table: columns, with row numbers. What cannot be read is refused by file and row."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config import UserError, nearest

LARGEST_FIELD = 1_000_000  # characters in one CSV field
LARGEST_SHEET = 1 << 30  # bytes that an XLSX file may unpack to
LARGEST_RATIO = 200  # of unpacked to packed bytes in an XLSX file


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
    """One file as a table.

    Raises:
        UserError: the file's kind is not known, or its content is not of that kind, or it holds no rows.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} must be one of {kinds()}; it ends with {path.suffix or 'nothing'}.\nSave it as one of these."
        )
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} must hold a header and rows; it is empty.")
        table = reader(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}.\nCheck the file and its permissions."
        ) from None
    if not table.rows:
        raise UserError(f"{path} must hold rows; it has a header ({', '.join(table.columns)}) and nothing below.")
    return table


def _read_csv(path: Path, delimiter: str = ",") -> Table:
    text = _decode(path)
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[list[str]] = []
    numbers: list[int] = []
    try:
        header = next(reader, [])
        _check_header(path, header)
        line = reader.line_num + 1
        for record in reader:
            if record:
                if len(record) != len(header):
                    raise UserError(
                        f"Every row of {path} must have the header's "
                        f"{len(header)} fields; line {line} has {len(record)}.\n"
                        "Put fields that contain the delimiter or quotes between double quotes."
                    )
                records.append(record)
                numbers.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path} must be a well-formed table; line {reader.line_num}: {error}.\n"
            "Is a quote left open, or is it another kind of file?"
        ) from None
    return _table(path, header, records, numbers)


def _read_tsv(path: Path) -> Table:
    return _read_csv(path, delimiter="\t")


def _read_jsonl(path: Path) -> Table:
    records: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(_decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise UserError(f"Every line of {path} must be a JSON object; line {number} is not: {error}.") from None
        if not isinstance(record, dict):
            raise UserError(
                f'Every line of {path} must be a JSON object such as {{"text": "…"}}; line {number} is not.'
            )
        records.append(record)
        numbers.append(number)
    header = list(dict.fromkeys(key for record in records for key in record))
    return Table(str(path), {key: [record.get(key) for record in records] for key in header}, numbers)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in pairs}) < len(pairs):
        raise ValueError(f"the key {_repeated([k for k, _ in pairs])} occurs twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _read_xlsx(path: Path) -> Table:
    from openpyxl import load_workbook

    _check_archive(path)
    try:
        with contextlib.closing(load_workbook(path, read_only=True, data_only=True)) as book:
            cells = book.worksheets[0].iter_rows(values_only=True)
            header = ["" if cell is None else str(cell) for cell in next(cells, ())]
            while header and not header[-1]:
                header.pop()
            _check_header(path, header)
            rows = [(number, list(row[: len(header)])) for number, row in enumerate(cells, start=2)]
        kept = [(number, row) for number, row in rows if any(cell is not None for cell in row)]
    except UserError:
        raise
    except Exception as error:
        # openpyxl raises anything on damaged workbooks, from KeyError to ParseError.
        raise UserError(
            f"{path} must be an Excel workbook; it cannot be read: {error}.\nSave it again as .xlsx or .csv."
        ) from None
    width = len(header)
    records = [["" if cell is None else cell for cell in row] + [""] * (width - len(row)) for _, row in kept]
    return _table(path, header, records, [n for n, _ in kept], unit="row")


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


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} must be a Parquet file; it cannot be read: {error}.") from None
    _check_header(path, table.column_names)
    return Table(
        str(path),
        {n: table.column(n).to_pylist() for n in table.column_names},
        list(range(1, table.num_rows + 1)),
        "row",
    )


def _read_lines(path: Path) -> Table:
    lines = [(number, line) for number, line in enumerate(_decode(path).split("\n"), start=1) if line.strip()]
    return _table(path, ["text"], [[line] for _, line in lines], [number for number, _ in lines])


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".xlsx": _read_xlsx,
    ".parquet": _read_parquet,
    ".txt": _read_lines,
}


def kinds() -> str:
    """The endings of the files that can be read."""
    return ", ".join(READERS)


def _decode(path: Path) -> str:
    content = path.read_bytes()
    if b"\x00" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(
            f"{path} must be a text file; it holds zero bytes.\nIs it another kind of file with this ending?"
        )
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path} must be UTF-8; byte {error.start} on line {line} is not.\n"
            f"Convert it: iconv -f {_likely_encoding(content)} -t UTF-8 {path} > converted{path.suffix}"
        ) from None


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


def _table(path: Path, header: list[str], records: list[list[Any]], rows: list[int], unit: str = "line") -> Table:
    columns = {name.strip(): [record[i] for record in records] for i, name in enumerate(header)}
    return Table(str(path), columns, rows, unit)
