"""Atomic file writes, file digests, and values that JSON can hold."""

from __future__ import annotations

import errno
import hashlib
import math
import os
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT)  # error numbers of a full disk


def write_atomic(file: Path, content: str | bytes) -> None:
    """Writes a file atomically: even after a power cut it has either the whole new content or the old one. Text is
    written as UTF-8."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as opened:
            opened.write(content.encode() if isinstance(content, str) else content)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    finally:
        temporary.unlink(missing_ok=True)


def create(file: Path, text: str) -> None:
    """Creates a file; where there is no room for its text, none is left.

    Raises:
        FileExistsError: there is one.
        OSError: it cannot be written.
    """
    with file.open("x", encoding="utf-8") as opened:
        try:
            opened.write(text)
            opened.flush()
        except OSError:
            file.unlink()
            raise


def sync_folder(folder: Path) -> None:
    """Flushes a folder to disk, so that a power cut cannot undo the renaming of a file in it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_values(value: Any) -> Any:
    """Returns the value with None for numbers that JSON cannot represent, such as NaN."""
    if isinstance(value, dict):
        return {str(k): json_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def without_nulls(node: Any) -> Any:
    """Returns nested mappings without the keys whose value is None."""
    return (
        {key: without_nulls(value) for key, value in node.items() if value is not None}
        if isinstance(node, dict)
        else node
    )
