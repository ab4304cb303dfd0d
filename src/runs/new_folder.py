"""The folder of a run: the one that the user names, or one of its own by the time of day."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, read_write

from src.config.quoting import REFERENCE, quoted
from src.errors import UserError
from src.runs.folder import RunFolder

PROCESSES = ("WORLD_SIZE", "SLURM_NTASKS")  # in the environment: how many were started together, by torchrun or SLURM


def given_folder() -> RunFolder:
    """The folder that Hydra has made for this process.

    Raises:
        UserError: its name would be read as a reference.
    """
    runtime: Any = OmegaConf.to_container(HydraConfig.get().runtime, resolve=False)
    folder = RunFolder(Path(os.path.relpath(runtime["output_dir"])))
    if REFERENCE in str(folder.path):
        folder.discard_if_empty()
        raise UserError(
            f"The folder of a run must have a name without {REFERENCE}, which begins a reference in its config; got "
            f"{folder.path}.\nChoose another: run=FOLDER, or hydra.sweep.subdir=NAME for the jobs of a sweep."
        )
    return folder


def is_named() -> bool:
    """Whether the folder of the run comes from the user, rather than from the time of day."""
    if not HydraConfig.initialized():
        return True
    given = HydraConfig.get().overrides
    return any(str(o).startswith(("run=", "hydra.run.dir=")) for o in (*given.task, *given.hydra))


def own_folder(folder: RunFolder) -> RunFolder:
    """The folder of a run that was started by itself; of those that begin in the same second, each gets another.

    Args:
        folder: that Hydra has made.
    """
    if not is_named() and all(os.environ.get(name, "1") == "1" for name in PROCESSES):
        folder = _reserved(folder)
    # Lightning puts it between quotes, for the processes that it starts for the same run.
    run: Any = HydraConfig.get().run
    with read_write(run):
        run.dir = quoted(str(folder.path))[1:-1]
    return folder


def _reserved(first: RunFolder) -> RunFolder:
    """The folder, or the first with a number behind its name that no other run has begun with."""
    later = (RunFolder(first.path.with_name(f"{first.name}_{number}")) for number in itertools.count(2))
    for folder in itertools.chain([first], later):
        with contextlib.suppress(FileExistsError):
            (folder.path / "report").mkdir(parents=True)  # of several processes, one makes it
            return folder
    raise AssertionError("numbers have no end")
