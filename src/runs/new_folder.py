"""The folder of a new run: the one that the user names, or one named after the current time."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write

from src.config.quoting import REFERENCE, quoted
from src.errors import UserError
from src.runs.folder import RunFolder

PROCESSES = ("WORLD_SIZE", "SLURM_NTASKS")  # environment variables of torchrun and SLURM: the number of processes


def given_folder() -> RunFolder:
    """Returns the folder that Hydra has made for this process.

    Raises:
        UserError: its name contains an interpolation, an environment variable or a home directory.
    """
    runtime: Any = OmegaConf.to_container(HydraConfig.get().runtime, resolve=False)
    folder = RunFolder(Path(os.path.relpath(runtime["output_dir"])))
    try:
        refuse_replaced(str(folder.path))
    except UserError:
        folder.discard_if_empty()
        raise
    return folder


def refuse_replaced(name: str) -> None:
    """
    Args:
        name: of a run folder.

    Raises:
        UserError: it contains an interpolation, an environment variable or a home directory.
    """
    if is_replaced(name):
        raise UserError(
            f"The name of a run folder must not contain {REFERENCE}, an environment variable or ~, which would be "
            f"replaced; got {name}.\nChoose another: run=FOLDER, or hydra.sweep.subdir=NAME for the jobs of a sweep."
        )


def is_replaced(name: str) -> bool:
    """Whether something would be replaced in the name of a run folder: TensorBoardLogger expands variables and ~, and
    would write its logs into another folder."""
    return REFERENCE in name or name.startswith("~") or os.path.expandvars(name) != name


def is_named() -> bool:
    """Whether the user named the run folder; otherwise it is named after the current time."""
    if not HydraConfig.initialized():
        return True
    # References in overrides may lead nowhere, which is reported later.
    given: Any = OmegaConf.to_container(HydraConfig.get().overrides, resolve=False)
    return any(o.startswith(("run=", "hydra.run.dir=")) for o in (*given["task"], *given["hydra"]))


@contextlib.contextmanager
def as_hydras(cfg: DictConfig) -> Iterator[None]:
    """Lets references to Hydra's section, such as those in the name of a run folder, be those of this config.

    Args:
        cfg: with the section, which Hydra itself has not started.
    """
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(cfg)
    try:
        yield
    finally:
        hydra.cfg = before


def own_folder(folder: RunFolder) -> RunFolder:
    """Returns the folder of a single run; runs that start in the same second get different folders.

    Args:
        folder: made by Hydra.
    """
    if not is_named() and all(os.environ.get(name, "1") == "1" for name in PROCESSES):
        folder = reserved(folder)
    # Lightning passes it, in quotes, to the processes that it starts for the same run.
    run: Any = HydraConfig.get().run
    with read_write(run):
        run.dir = quoted(str(folder.path))[1:-1]
    return folder


def reserved(first: RunFolder) -> RunFolder:
    """Makes and returns the folder, or if another run has it, the first free one with a number appended to its name."""
    later = (RunFolder(first.path.with_name(f"{first.name}_{number}")) for number in itertools.count(2))
    for folder in itertools.chain([first], later):
        with contextlib.suppress(FileExistsError):
            (folder.path / "report").mkdir(parents=True)  # atomic: only one process succeeds
            return folder
    raise AssertionError("unreachable")
