"""Reads Parquet and Arrow files, which hold typed columns; Feather is Arrow's file format under another name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from src.errors import UserError, reason
from src.tables.content import Content, Layout, Row, name_columns


def read_parquet(path: Path, layout: Layout) -> Content:
    import pyarrow.parquet

    def opened() -> tuple[list[str], Iterable[Any]]:
        file = pyarrow.parquet.ParquetFile(path)
        return file.schema_arrow.names, file.iter_batches()

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


def _whole(batch: Any) -> Any:
    """Checks that no value of a record batch lies outside of its file, since nothing does so when it is read.

    Raises:
        pyarrow.ArrowInvalid: one does.
    """
    batch.validate(full=True)
    return batch


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
            batches = (_whole(batch).rename_columns(columns) for batch in found)
            yield from enumerate((record for batch in batches for record in batch.to_pylist()), start=1)
        except Exception as error:
            raise refuse(error) from None

    return Content(columns, rows(), "row", repeated)
