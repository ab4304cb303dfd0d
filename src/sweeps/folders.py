"""The folder of a sweep: that of the same command before, or a new one, and never that of another at the same time."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig, OmegaConf

from src.cli import fail
from src.config.quoting import REFERENCE
from src.errors import UserError
from src.files import locks

SWEEPS = Path("outputs/sweeps")


COMMAND = "command.json"  # in a sweep's folder: what it was started with


LOCK = ".lock"  # beside it, while the sweep runs


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether a command starts a sweep whose folder is still to be chosen."""
    starts = {"-m", "--multirun"} & set(arguments) or any(a.startswith("sweep=") for a in arguments)
    # A job of a sweep has the sweep's overrides and a mode of its own.
    stops = {"hydra.mode=RUN", "--cfg", "-c"} & set(arguments)
    return bool(starts) and not stops and not any(a.startswith("hydra.sweep.dir=") for a in arguments)


@contextlib.contextmanager
def with_folder(arguments: list[str]) -> Iterator[None]:
    """Gives the sweep that a command starts a folder, which goes away again if no job has come into it.

    Args:
        arguments: of the command, with its name; the folder is added to those of a sweep.
    """
    if not is_sweep(arguments[1:]):
        yield
        return
    try:
        folder, lock = choose_folder(arguments[1:])
    except OSError as error:
        fail(
            f"The folder of a sweep must be one that can be written: {error}.\nChoose another: hydra.sweep.dir=FOLDER."
        )
    # Beside other values, since Hydra wants them all in one place; what comes first is the command's name.
    place = next((i for i, a in enumerate(arguments) if i and "=" in a and not a.startswith("-")), len(arguments))
    arguments.insert(place, f"hydra.sweep.dir={folder}")
    try:
        yield
    finally:
        if {file.name for file in folder.iterdir()} <= {LOCK, COMMAND, "multirun.yaml"}:
            shutil.rmtree(folder)
        locks.release(lock)


def choose_folder(arguments: Sequence[str], root: Path = SWEEPS) -> tuple[Path, TextIO]:
    """The folder of a sweep: that of the same command before, whose finished jobs are then not run again, or a new one.

    The lock keeps other sweeps out of it until it is given back.

    Args:
        arguments: of the command, without its name.
        root: where sweeps are.
    """
    command = sorted(a for a in arguments if not a.startswith(("sweep.rerun=", "-")))
    if "sweep.rerun=all" not in arguments:
        for file in sorted(root.glob(f"*/{COMMAND}"), reverse=True):
            if _command(file) == command and (lock := locks.acquire(file.parent / LOCK)):
                print(f"Going on with {file.parent} (sweep.rerun=all starts anew)")
                return file.parent, lock
    root.mkdir(parents=True, exist_ok=True)
    name, number = time.strftime("%Y-%m-%d_%H-%M-%S"), 1
    while True:
        folder = root / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()  # of two sweeps that start in the same second, one gets the name
        except FileExistsError:
            number += 1
            continue
        lock = locks.acquire(folder / LOCK)
        assert lock is not None, "the folder is new"
        (folder / COMMAND).write_text(json.dumps(command, indent=1), encoding="utf-8")
        return folder, lock


def _command(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def check_folders(config: DictConfig) -> None:
    """
    Args:
        config: of the multirun, before its jobs are known.

    Raises:
        UserError: jobs would lie outside of the sweep's folder, or all in one.
    """
    if any(override.startswith("run=") for override in config.hydra.overrides.task):
        raise UserError(
            "The runs of a multirun have folders of their own, in that of the multirun; run=… names one for all.\n"
            "Name that of the multirun instead: hydra.sweep.dir=FOLDER."
        )
    found: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    place = str(found.get("subdir"))
    if any(f"\\{REFERENCE}" in str(found.get(key)) for key in ("dir", "subdir")):
        raise UserError(
            f"The folders of jobs must have names without {REFERENCE}, which begins a reference in their configs; "
            f"hydra.sweep.dir is {found.get('dir')}, hydra.sweep.subdir is {place}.\nGive other names."
        )
    if place.startswith("/") or not {*place.split("/")}.isdisjoint({"", ".", ".."}):
        raise UserError(
            f"Jobs have folders in that of their sweep; hydra.sweep.subdir is {place}.\n"
            "Give a name: hydra.sweep.subdir='job_${hydra.job.num}'."
        )
