"""The reader of each file format. Errors name file and row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from src.errors import UserError, reason
from src.tables.content import Content, Layout, Row, name_columns
from src.tables.delimited import read_csv, read_tsv
from src.tables.lines import GZIP, STDIN, read_lines
from src.tables.records import read_json
from src.tables.workbooks import read_workbook


def read_parquet(path: Path, layout: Layout) -> Content:
    import pyarrow.parquet

    def refuse(error: Exception) -> UserError:
        # Damaged files raise anything, from ArrowInvalid to UnicodeDecodeError.
        why = reason(error)
        return UserError(f"{path} must be a Parquet file; it cannot be read: {why}.\nWrite it again, or as .jsonl.")

    try:
        file = pyarrow.parquet.ParquetFile(path)
        given = file.schema_arrow.names
    except Exception as error:
        raise refuse(error) from None
    columns, repeated = name_columns(path, given, Layout())

    def rows() -> Iterator[Row]:
        try:
            batches = (batch.rename_columns(columns) for batch in file.iter_batches())
            yield from enumerate((record for batch in batches for record in batch.to_pylist()), start=1)
        except Exception as error:
            raise refuse(error) from None

    return Content(columns, rows(), "row", repeated)


def read_plain(path: Path, layout: Layout) -> Content:
    lines = ((number, line.removesuffix("\n")) for number, line in enumerate(read_lines(path), start=1))
    return Content(["text"], ((number, {"text": line} if line.strip() else {}) for number, line in lines))


READERS: dict[str, Callable[[Path, Layout], Content]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json,
    ".json": read_json,
    ".xlsx": read_workbook,
    ".parquet": read_parquet,
    ".txt": read_plain,
}


BINARY = (".xlsx", ".parquet")  # which are packed already


HEADLESS = (".jsonl", ".json", ".txt")  # whose first line is a row


def kind_of(path: Path) -> str | None:
    """Returns the extension that decides how a file is read, without .gz; None if it cannot be read."""
    if path == STDIN:
        return ".jsonl"
    kind = path.suffix.lower()
    if kind == GZIP and (inner := Path(path.stem).suffix.lower()) not in BINARY:
        kind = inner
    return kind if kind in READERS else None


def kinds() -> str:
    """Returns the extensions of the files that can be read."""
    return f"{', '.join(READERS)}, or a text file compressed as .gz"
