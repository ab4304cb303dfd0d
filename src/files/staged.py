"""Files and folders that get their name once they are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from src.errors import UserError
from src.files.atomic import FULL


@contextlib.contextmanager
def staged(target: Path, remedy: str) -> Iterator[Path]:
    """Yields a path beside the target, for a file or folder that takes the target's name at the end of the block;
    without an end nothing is left.

    Args:
        target: the final name.
        remedy: what helps where it cannot be written, as a sentence.

    Raises:
        UserError: it cannot be written. Errors of other files that the block reads are raised as they are.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        if error.errno not in FULL and not _concerns(error, unfinished):
            raise
        raise UserError(f"{target} cannot be written: {error.strerror or error}.\n{remedy}") from None
    finally:
        _remove(unfinished)


@contextlib.contextmanager
def staged_folder(target: Path, remedy: str) -> Iterator[Path]:
    """The same for a folder, which the block finds empty."""
    with staged(target, remedy) as unfinished:
        unfinished.mkdir(parents=True)
        yield unfinished


def _concerns(error: OSError, unfinished: Path) -> bool:
    """Whether an error is about the path, something in it, or a folder above it."""
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    return named is not None and (named.is_relative_to(unfinished) or unfinished.is_relative_to(named))


def _remove(unfinished: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    with contextlib.suppress(OSError):
        unfinished.unlink()
