"""Chooses the folder of a sweep: that of an earlier, identical command, or a new one. A lock keeps other sweeps out."""

from __future__ import annotations

import contextlib
import json
import re
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
from src.files.atomic import write_atomic
from src.runs.new_folder import is_replaced

SWEEPS = Path("outputs/sweeps")


STARTS = {"-m", "--multirun"}  # they start a sweep, and say nothing of its runs


COMMAND = "command.json"  # in a sweep's folder: the arguments that it was started with


LOCK = ".lock"  # in the same folder: held while the sweep runs, by the process that it names


CHOSEN: list[Path] = []  # folders that this process has made or goes on with: removed if they have nothing but OWN


WARNINGS = ".warnings"  # in the same folder: warnings and progress that jobs have told and others do not repeat


OWN = {LOCK, COMMAND, WARNINGS, "multirun.yaml"}  # what a sweep's folder has before its first job


def is_sweep(arguments: Sequence[str]) -> bool:
    """Returns whether a command starts a sweep and does not choose its folder itself."""
    starts = STARTS & set(arguments) or any(a.startswith("sweep=") for a in arguments)
    # The jobs of a sweep have its overrides too, but run in mode RUN.
    stops = {"hydra.mode=RUN", "--cfg", "-c"} & set(arguments)
    return bool(starts) and not stops and not any(a.startswith("hydra.sweep.dir=") for a in arguments)


@contextlib.contextmanager
def with_folder(arguments: list[str]) -> Iterator[None]:
    """Chooses the folder of the sweep that a command starts; it is removed at the end if no job has used it.

    Args:
        arguments: of the command, including its name (sys.argv); for a sweep, `hydra.sweep.dir=…` is inserted.
    """
    if is_sweep(arguments[1:]):
        try:
            folder, _ = choose_folder(arguments[1:])
        except OSError as error:
            fail(f"The folder of a sweep must be writable: {error}.\nChoose another: hydra.sweep.dir=FOLDER.")
        # Next to other overrides, since Hydra requires them to be adjacent; argument 0 is the command's name.
        place = next((i for i, a in enumerate(arguments) if i and "=" in a and not a.startswith("-")), len(arguments))
        arguments.insert(place, f"hydra.sweep.dir={folder}")
    try:
        yield
    finally:
        for folder in CHOSEN:
            if folder.is_dir() and {file.name for file in folder.iterdir()} <= OWN:
                shutil.rmtree(folder)
        CHOSEN.clear()
        for lock in [lock for lock in locks.HELD if Path(lock.name).name == LOCK]:
            locks.release(lock)


def hold(folder: Path) -> None:
    """Keeps other multiruns out of a folder, which is made if there is none, until `with_folder` or this process ends.

    Raises:
        UserError: another process holds it.
    """
    if any(Path(lock.name).resolve() == (folder / LOCK).resolve() for lock in locks.HELD):
        return
    if not folder.exists():
        folder.mkdir(parents=True)
        CHOSEN.append(folder.resolve())
    if _lock(folder) is None:
        holder = locks.holder(_content(folder / LOCK) or {})
        raise UserError(
            f"Only one process at a time may run a multirun in a folder; {folder} is held by {holder}.\n"
            "Wait for it, stop it, or give another folder: hydra.sweep.dir=FOLDER."
        )


def _lock(folder: Path) -> TextIO | None:
    """Returns the lock of a sweep's folder, with this process written into it; None if another process holds it."""
    lock = locks.acquire(folder / LOCK)
    if lock:
        lock.truncate(0)
        lock.write(json.dumps(locks.about()))
        lock.flush()
    return lock


def choose_folder(arguments: Sequence[str], root: Path = SWEEPS) -> tuple[Path, TextIO]:
    """Returns the folder of a sweep and its lock: the folder of an earlier, identical command, whose finished jobs are
    not repeated, or a new one. The lock keeps other sweeps out until it is released.

    Args:
        arguments: of the command, without its name.
        root: the folder with all sweeps.
    """
    command = sorted(a for a in arguments if a not in STARTS and not a.startswith("sweep.rerun="))
    if "sweep.rerun=all" not in arguments:
        for file in sorted(root.glob(f"*/{COMMAND}"), reverse=True):
            if _content(file) == command and (lock := _lock(file.parent)):
                CHOSEN.append(file.parent.resolve())
                print(f"Continuing {file.parent} (sweep.rerun=all starts a new sweep)")
                return file.parent, lock
    root.mkdir(parents=True, exist_ok=True)
    name, number = time.strftime("%Y-%m-%d_%H-%M-%S"), 1
    while True:
        folder = root / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()  # fails for the second of two sweeps that start in the same second
        except FileExistsError:
            number += 1
            continue
        CHOSEN.append(folder.resolve())
        lock = _lock(folder)
        assert lock is not None, "the folder is new"
        write_atomic(folder / COMMAND, json.dumps(command, indent=1))
        return folder, lock


def _content(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def check_folders(config: DictConfig) -> None:
    """Checks the folder names of a multirun.

    Args:
        config: of the multirun, before it is split into jobs.

    Raises:
        UserError: jobs would be outside of the sweep's folder, or share one folder.
    """
    if any(override.startswith("run=") for override in config.hydra.overrides.task):
        raise UserError(
            "Each run of a multirun needs its own folder inside the folder of the multirun; run=… names one for all.\n"
            "Name the folder of the multirun instead: hydra.sweep.dir=FOLDER."
        )
    found: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    subdir = str(found.get("subdir"))
    if any(_is_replaced(str(found.get(key))) for key in ("dir", "subdir")):
        raise UserError(
            f"Folder names of jobs must not contain \\{REFERENCE}, an environment variable or ~, which are replaced; "
            f"hydra.sweep.dir is {found.get('dir')}, hydra.sweep.subdir is {subdir}.\nGive other names."
        )
    if subdir.startswith("/") or not {*subdir.split("/")}.isdisjoint({"", ".", ".."}):
        raise UserError(
            f"Folders of jobs must be inside the folder of their sweep; hydra.sweep.subdir is {subdir}.\n"
            "Give a name: hydra.sweep.subdir='job_${hydra.job.num}'."
        )


def _is_replaced(name: str) -> bool:
    """Returns whether a name would still be replaced after Hydra has resolved the interpolations in it."""
    return is_replaced(re.sub(r"(?<!\\)\$\{[^}]*\}", "", name))
