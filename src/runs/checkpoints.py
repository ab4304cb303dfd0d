"""Checkpoint files: written whole or not at all, with their SHA-256 beside them, and checked when they are read."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from src.errors import UserError
from src.files.atomic import sha256, sync_folder, write_whole

log = logging.getLogger(__name__)

TRAINING = {"callbacks", "global_step", "loops", "optimizer_states"}  # what a training goes on with, besides weights


def write(content: dict[str, Any], target: Path) -> None:
    """
    Raises:
        UserError: the file cannot be written; the one that was there before is as it was.
    """
    try:
        with _replacing(target) as temporary:
            with temporary.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            read(temporary)
    # A full disk is a RuntimeError of the archive's writer.
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"The checkpoint {target} must be written; it cannot be: {_first_line(error)}\n"
            "The one before it is as it was. Free some space, then go on with resume=true."
        ) from error


def read(file: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the processor.

    Raises:
        UserError: the file is no checkpoint of tensors and plain values.
    """
    try:
        content: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    except OSError as error:
        raise UserError(f"{file} must be a checkpoint; it cannot be read: {error.strerror or error}.") from None
    except pickle.UnpicklingError:
        # PyTorch's own message says how to load it all the same.
        raise UserError(
            f"{file} must be a checkpoint of this project, of tensors and plain values alone; it is damaged or holds "
            "what could run code, and was not loaded.\nTrain the run again; do not load it by other means."
        ) from None
    except Exception as error:
        # Damaged files raise anything; weights_only refuses everything that could run code.
        raise UserError(
            f"{file} must be a checkpoint of this project, of tensors and plain values alone; it is not: "
            f"{_first_line(error)}\nTrain the run again."
        ) from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{file} must be a checkpoint of this project; it holds no weights.\nTrain the run again.")
    return content


def read_verified(file: Path) -> dict[str, Any]:
    """The content of a checkpoint whose bytes are those that were written.

    Raises:
        UserError: they are not, or the file is no checkpoint.
    """
    try:
        found, expected = sha256(file), _digests(file)
    except OSError as error:
        raise UserError(f"{file} must be a checkpoint; it cannot be read: {error.strerror or error}.") from None
    if found not in expected:
        written = " or ".join(expected) or "missing"
        raise UserError(f"{file} is damaged: its SHA-256 is {found}, the one beside it is {written}.")
    return read(file)


def newest_valid(files: Iterable[Path]) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from: of those that are whole the one with the most steps. Says what is damaged.

    Args:
        files: those that may be there; of equals the first is taken.

    Returns:
        The file and its content; None if there is no checkpoint at all.

    Raises:
        UserError: there are checkpoints, and all are damaged or without what a training goes on with.
    """
    found, problems = [], []
    for file in files:
        if file.exists():
            try:
                content = read_verified(file)
                if TRAINING - content.keys():
                    raise UserError(f"{file} must be a checkpoint of a training; it holds weights alone.")
                found.append((file, content))
            except UserError as error:
                problems.append(str(error).splitlines()[0])
    if problems and not found:
        raise UserError("\n".join([*problems, "No checkpoint is left to go on from. Start a new run."]))
    if not found:
        return None
    newest = max(found, key=lambda pair: int(pair[1]["global_step"]))
    for problem in problems:
        log.warning("%s\nThe run goes on from %s, of step %d.", problem, newest[0].name, newest[1]["global_step"])
    return newest


def give_name(source: Path, target: Path) -> None:
    """Makes `target` another name of the checkpoint `source`, so that it stays when `source` is written anew."""
    with _replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # some file systems have no such names
            shutil.copyfile(source, temporary)


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside the target, which takes its place if all goes well. At every moment the target is whole
    and its SHA-256 among those beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        digest = sha256(temporary)
        # Both are right until the file has been replaced.
        _write_digests(target, [digest, *_digests(target)])
        temporary.replace(target)
        sync_folder(target.parent)
        _write_digests(target, [digest])
    finally:
        temporary.unlink(missing_ok=True)


def _digest_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _digests(file: Path) -> list[str]:
    """What the SHA-256 of the file may be: several while it is replaced, otherwise one; none where nothing says."""
    beside = _digest_file(file)
    return [line.split()[0] for line in beside.read_text().splitlines() if line.strip()] if beside.exists() else []


def _write_digests(file: Path, digests: list[str]) -> None:
    """As `sha256sum --check` reads them."""
    write_whole(_digest_file(file), "".join(f"{digest}  {file.name}\n" for digest in digests))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
