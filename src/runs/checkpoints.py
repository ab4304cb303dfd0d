"""Checkpoint files: written atomically, with a SHA-256 file next to each, which is verified on reading."""

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
from src.files.atomic import sha256, sync_folder, write_atomic

log = logging.getLogger(__name__)

TRAINING = {"callbacks", "global_step", "loops", "optimizer_states"}  # needed to resume, besides the weights


WEIGHTS = ("state_dict", "epoch", "global_step", "phase")  # what is kept of a checkpoint that no training resumes from


def write(content: dict[str, Any], target: Path) -> None:
    """Writes a checkpoint atomically.

    Raises:
        UserError: the file cannot be written; the previous one is unchanged.
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
            f"The checkpoint {target} cannot be written: {_first_line(error)}\n"
            "The previous one is unchanged. Free some space, then continue with resume=true."
        ) from error


def keep_weights(file: Path) -> None:
    """Leaves in a checkpoint only the weights and where in the training they are from, mostly a third of its size.

    Raises:
        UserError: it is damaged, or cannot be written.
    """
    content = read_verified(file)
    write({name: content[name] for name in WEIGHTS}, file)


def read(file: Path) -> dict[str, Any]:
    """Returns the content of a checkpoint, on the CPU.

    Raises:
        UserError: the file is not a checkpoint of tensors and plain values only.
    """
    try:
        content: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    except OSError as error:
        raise UserError(f"{file} must be a checkpoint; it cannot be read: {error.strerror or error}.") from None
    except pickle.UnpicklingError:
        # PyTorch's own message explains how to load it anyway, which would be unsafe.
        raise UserError(
            f"{file} must be a checkpoint of this project, with tensors and plain values only; it is damaged or has "
            "objects that could run code, and was not loaded.\nTrain the run again; do not load it by other means."
        ) from None
    except Exception as error:
        # Damaged files raise all kinds of exceptions; weights_only refuses objects that could run code.
        raise UserError(
            f"{file} must be a checkpoint of this project, with tensors and plain values only; it is not: "
            f"{_first_line(error)}\nTrain the run again."
        ) from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{file} must be a checkpoint of this project; it has no weights.\nTrain the run again.")
    return content


def read_verified(file: Path) -> dict[str, Any]:
    """Returns the content of a checkpoint after verifying its SHA-256.

    Raises:
        UserError: the digest differs, or the file is not a checkpoint.
    """
    try:
        found, expected = sha256(file), _digests(file)
    except OSError as error:
        raise UserError(f"{file} must be a checkpoint; it cannot be read: {error.strerror or error}.") from None
    if found not in expected:
        written = " or ".join(expected) or "missing"
        raise UserError(f"{file} is damaged: its SHA-256 is {found}, the recorded one is {written}.")
    return read(file)


def newest_valid(files: Iterable[Path]) -> tuple[Path, dict[str, Any]] | None:
    """Finds the checkpoint to resume from: the valid one with the most steps. Logs which ones are damaged.

    Args:
        files: candidates, which need not exist; the first of several with the same step is taken.

    Returns:
        The file and its content; None if there is no checkpoint at all.

    Raises:
        UserError: there are checkpoints, but all are damaged or have weights only.
    """
    found, problems, weights = [], [], None
    for file in files:
        if file.exists():
            try:
                content = read_verified(file)
            except UserError as error:
                problems.append(str(error).splitlines()[0])
            else:
                if TRAINING - content.keys():
                    weights = file
                else:
                    found.append((file, content))
    if weights and not found:
        raise UserError(
            f"{weights} must have the state of a training; it has weights only, as finished jobs of a multirun keep "
            "them.\nStart a new run; with callbacks.checkpoint.weights_only=false it can be trained for longer."
        )
    if problems and not found:
        raise UserError("\n".join([*problems, "No checkpoint is left to resume from. Start a new run."]))
    if not found:
        return None
    newest = max(found, key=lambda pair: int(pair[1]["global_step"]))
    for problem in problems:
        log.warning("%s\nResuming from %s instead, step %d.", problem, newest[0].name, newest[1]["global_step"])
    return newest


def hard_link(source: Path, target: Path) -> None:
    """Hard-links `target` to the checkpoint `source`, so that it stays when `source` is replaced; copies it where the
    file system has no hard links."""
    with _replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yields a temporary file that replaces the target if the block succeeds. At every moment the target is complete
    and its SHA-256 is in the digest file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield temporary
        digest = sha256(temporary)
        # Both digests are valid until the file has been replaced.
        _write_digests(target, [digest, *_digests(target)])
        temporary.replace(target)
        sync_folder(target.parent)
        _write_digests(target, [digest])
    finally:
        temporary.unlink(missing_ok=True)


def _digest_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _digests(file: Path) -> list[str]:
    """Returns the valid digests of the file: two while it is replaced, otherwise one; none without a digest file."""
    digests = _digest_file(file)
    if not digests.exists():
        return []
    lines = digests.read_text(encoding="utf-8", errors="replace").splitlines()  # a damaged one matches no file
    return [line.split()[0] for line in lines if line.strip()]


def _write_digests(file: Path, digests: list[str]) -> None:
    """Writes the digest file, in the format of `sha256sum --check`."""
    write_atomic(_digest_file(file), "".join(f"{digest}  {file.name}\n" for digest in digests))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
