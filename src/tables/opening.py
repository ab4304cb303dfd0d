"""Opens data files as bytes: standard input, plain files, and files compressed with gzip or Zstandard, in a stream."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from src.errors import UserError

STDIN = Path("-")  # standard input


# How the names of compressed files end, what compresses them, and what decompresses them.
PACKED = {".gz": ("gzip", "gunzip"), ".zst": ("Zstandard", "unzstd")}


CHUNK = 1 << 20  # bytes read at a time


LARGEST_RATIO = 200  # of decompressed to compressed bytes


SMALLEST = 1 << 16  # bytes; what is smaller than that may become as large as if it had them


def name_of(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def packing_of(path: Path) -> str:
    """Returns the ending of a compressed file's name; nothing if it has none."""
    ending = path.suffix.lower()
    return ending if ending in PACKED else ""


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens a file, or standard input, for reading; a compressed file is decompressed as it is read.

    Raises:
        UserError: it is compressed, and damaged or hostile.
        OSError: it cannot be read.
    """
    if path == STDIN:
        yield cast(io.BufferedIOBase, sys.stdin.buffer)
    elif packing_of(path):
        _check_archive(path)
        with _decompressed(path) as file:
            yield file
    else:
        with path.open("rb") as file:
            yield file


@contextlib.contextmanager
def _decompressed(path: Path) -> Iterator[io.BufferedIOBase]:
    with path.open("rb") as packed:
        if packing_of(path) == ".gz":
            yield gzip.GzipFile(fileobj=packed)
            return
        import pyarrow

        with pyarrow.CompressedInputStream(packed, "zstd") as file:
            yield file


def _check_archive(path: Path) -> None:
    """Decompresses a file once, before a row of it is used.

    Raises:
        UserError: the file is no archive, or becomes larger than texts do.
        OSError: it cannot be read.
    """
    program, undo = PACKED[packing_of(path)]
    size, found = path.stat().st_size, 0
    most = LARGEST_RATIO * max(size, SMALLEST)
    try:
        with _decompressed(path) as file:
            while chunk := file.read(CHUNK):
                found += len(chunk)
                if found > most:
                    raise UserError(
                        f"{path} must hold texts compressed with {program}, at most {LARGEST_RATIO} times its size; it "
                        f"decompresses from {size:,} to more than {most:,} bytes, like a zip bomb.\n"
                        f"If it is none, decompress it yourself: {undo}."
                    )
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(
            f"{path} must be a file compressed with {program}; it is cut off, damaged or a renamed file: {error}.\n"
            "Compress it again."
        ) from None
