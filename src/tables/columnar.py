"""Reads Parquet and Arrow files, which hold typed columns; Feather is Arrow's file format under another name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from src.errors import UserError, reason
from src.tables.content import Content, Layout, Row, name_columns

ROWS = 4_096  # that are in memory as mappings


def read_parquet(path: Path, layout: Layout) -> Content:
    import pyarrow.parquet

    def opened() -> tuple[list[str], Iterable[Any]]:
        file = pyarrow.parquet.ParquetFile(path)
        return file.schema_arrow.names, file.iter_batches(ROWS)

    return _content(path, "a Parquet", opened)


def read_arrow(path: Path, layout: Layout) -> Content:
    """Reads a file as `datasets`, pandas (`to_feather`) or polars write it: Arrow's file format or its stream."""
    import pyarrow.ipc

    def opened() -> tuple[list[str], Iterable[Any]]:
        source = pyarrow.memory_map(str(path))
        try:
            file = pyarrow.ipc.open_file(source)
        except pyarrow.ArrowInvalid:
            source.seek(0)
            stream = pyarrow.ipc.open_stream(source)
            return stream.schema.names, stream
        return file.schema.names, (file.get_batch(number) for number in range(file.num_record_batches))

    return _content(path, "an Arrow", opened)


def _parts(batch: Any) -> Iterator[Any]:
    """Yields a record batch in parts of at most `ROWS` rows.

    Raises:
        pyarrow.ArrowInvalid: a value lies outside of the file, which nothing checks when the batch is read.
    """
    batch.validate(full=True)
    yield from (batch.slice(first, ROWS) for first in range(0, batch.num_rows, ROWS))


def _content(path: Path, kind: str, opened: Callable[[], tuple[list[str], Iterable[Any]]]) -> Content:
    """
    Args:
        path: of the file.
        kind: of the file, with its article.
        opened: returns the names of its columns and its record batches.
    """

    def refuse(error: Exception) -> UserError:
        # Damaged files raise anything, from ArrowInvalid to UnicodeDecodeError.
        why = reason(error)
        return UserError(f"{path} must be {kind} file; it cannot be read: {why}.\nWrite it again, or as .jsonl.")

    try:
        given, found = opened()
    except Exception as error:
        raise refuse(error) from None
    columns, repeated = name_columns(path, given, Layout())

    def rows() -> Iterator[Row]:
        try:
            parts = (part.rename_columns(columns) for batch in found for part in _parts(batch))
            yield from enumerate((record for part in parts for record in part.to_pylist()), start=1)
        except Exception as error:
            raise refuse(error) from None

    return Content(columns, rows(), "row", repeated)
