"""Whether any job of a multirun could start: a mistake that all of them share is told once, before the first."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.config.validation import check_references
from src.errors import UserError
from src.models.checks import check_both, read_training
from src.runs import pretrain_config
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.runs.moved_names import with_current_names
from src.runs.new_folder import as_hydras
from src.sweeps.combinations import written
from src.sweeps.sharing import is_launcher
from src.training.inputs import read_inputs


def refuse_shared_mistakes(config: DictConfig, given: Sequence[Override], loader: Any) -> None:
    """Checks jobs until one could start, or two cannot for the same reason: their configs, and where they run on this
    machine, their backbone and data.

    Once a job has finished, nothing is checked, since its data may have gone.

    Args:
        config: of the multirun, before it is split into jobs.
        given: the overrides of the command and of the sweep, one per key.
        loader: Hydra's.

    Raises:
        UserError: no job could start; says why the first could not.
    """
    if "finished" in {run.state() for run in runs_in(Path(config.hydra.sweep.dir))}:
        return
    here = is_launcher(config.hydra, "BasicLauncher", "JoblibLauncher", "LocalLauncher")
    jobs = list(itertools.product(*map(written, given)))
    found: dict[str, None] = {}
    for overrides in dict.fromkeys([jobs[0], jobs[-1], *jobs]):  # the first and the last share no value that is swept
        problem = _problem(loader, config, overrides, here)
        if problem is None:
            return
        if problem in found or len(jobs) == 1:
            break
        found[problem] = None
    raise UserError(next(iter(found), problem))


def _problem(loader: Any, config: DictConfig, overrides: Sequence[str], here: bool) -> str | None:
    """Returns why a job could not start; None if it could, or if Hydra is to say why not."""
    try:
        _check_job(loader.load_sweep_config(config, [*overrides]), here)
    except UserError as error:
        return str(error)
    except (HydraException, OmegaConfBaseException):  # it cannot be composed
        return None
    return None


def _check_job(cfg: DictConfig, here: bool) -> None:
    """
    Args:
        cfg: of a job, with Hydra's section.
        here: the job runs on this machine.

    Raises:
        UserError: it could not start.
    """
    with open_dict(cfg):
        cfg.hydra.job.id, cfg.hydra.job.num = "0", 0
    with _alone(cfg):
        cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        check_references(cfg)
        cfg = with_current_names(cfg)
        if cfg.pretrain:
            first, second = pretrain_config.stage_configs(cfg, RunFolder(Path(cfg.run)))
            if here:
                check_both(first, second)
            else:
                read_training(first)
                read_training(second)
        elif here:
            read_inputs(cfg)
        else:
            read_training(cfg)


@contextlib.contextmanager
def _alone(cfg: DictConfig) -> Iterator[None]:
    """Lets references to Hydra's section be those of a job, and leaves what is logged to the jobs, which say it too."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with as_hydras(cfg):
            yield
    finally:
        logging.disable(level)
