"""Composed config -> fitted run -> result. The entry point of `python -m src.train`.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from src.cli import fail, run_command
from src.config.folder import CONF
from src.config.validation import check_references
from src.errors import UserError
from src.files.ranks import is_main_process
from src.models import checks
from src.runs import pretrain_config
from src.runs.folder import RunFolder
from src.runs.moved_names import with_current_names
from src.runs.new_folder import given_folder, own_folder
from src.runs.resuming import resumed
from src.runs.saved_config import as_written, trust
from src.sweeps.folders import with_folder
from src.sweeps.jobs import is_sweep_job, run_job
from src.sweeps.multirun import compared
from src.training.allocation import forget_peak
from src.training.clock import Clock
from src.training.devices import check_device
from src.training.inputs import read_inputs
from src.training.libraries import importing_libraries
from src.training.run_log import run_log

log = logging.getLogger(__name__)

Result = dict[str, Any]


def train(cfg: DictConfig, folder: RunFolder, given: Sequence[str] = ()) -> Result:
    """Trains one run and leaves its results in the folder.

    Args:
        cfg: composed from conf/train.yaml.
        folder: of the run; nothing is written into it before everything the user gave has been checked.
        given: the overrides that the user has given.

    Returns:
        The content of result.json.

    Raises:
        UserError: something in the config or the data cannot be used.
    """
    forget_peak()
    check_references(cfg)
    cfg = as_written(with_current_names(cfg))  # what refers to the environment for a number is that number from here on
    trust(cfg, CONF)
    if os.environ.get("SLURM_RESTART_COUNT", "0") != "0" and (folder.path / "config.yaml").exists():
        cfg.resume = cfg.resume or True  # the same job again, after it was put back into the queue
    if cfg.resume:
        cfg = resumed(cfg, folder, given)
    elif is_main_process():
        folder.refuse_taken()
    check_device(cfg)
    with open_dict(cfg):
        cfg.run = str(folder.path)
    keys = [override.partition("=")[0].lstrip("+") for override in given]
    if cfg.pretrain:
        return _train_in_two_stages(cfg, folder, keys)
    return _train_once(cfg, folder, lambda: folder.claim(cfg), keys)


def _train_in_two_stages(cfg: DictConfig, folder: RunFolder, keys: Sequence[str]) -> Result:
    """Pretrains a backbone in a folder inside the run's, then trains the run with it; what is done already is kept."""
    first, second = pretrain_config.stage_configs(cfg, folder)
    checks.check_both(first, second)
    inner = RunFolder(Path(first.run))

    def claim_both() -> None:
        if not cfg.resume:
            folder.claim(cfg)
        inner.claim(first)

    if inner.state() != "finished":
        first.resume = cfg.resume if (inner.path / "config.yaml").exists() else False
        _train_once(first, inner, claim_both, keys=(), whole=folder)  # it has values of its own
    learned = inner.read_result()
    second.resume = cfg.resume
    about = {"run": first.run, **{key: learned[key] for key in ("metrics", "seconds", "best")}}
    return _train_once(second, folder, lambda: None, keys, pretraining=about)


def _train_once(
    cfg: DictConfig,
    folder: RunFolder,
    claim: Callable[[], None],
    keys: Sequence[str],
    whole: RunFolder | None = None,
    **known: Any,
) -> Result:
    """Trains one run: reads and checks, builds, claims the folder, fits, tests, and writes the results.

    Args:
        cfg: of the run.
        folder: of the run.
        claim: makes the folder the run's, once all that the user gave has been checked; not called for a resumed run.
        keys: that the user has given, of which those without effect are named.
        whole: the run that this is a stage of, if it is one; the one to resume.
        known: what result.json says besides.
    """
    clock = Clock()
    with run_log() as held_back, contextlib.ExitStack() as locks:
        if cfg.resume and is_main_process():
            locks.enter_context(folder.locked())
        with clock("data"):
            inputs = read_inputs(cfg)
        with clock("import"), importing_libraries():
            from src.report.run import finish
            from src.training.fit import fit_and_test, recorded
            from src.training.parts import build_parts
        log.info("Strategy %s; run folder %s", inputs.strategy.name, folder.path)
        with clock("build"):
            parts = build_parts(inputs, folder, clock, keys)
        if is_main_process():
            if not cfg.resume:
                claim()
                locks.enter_context(folder.locked())
            parts.prepare(folder)
            folder.write_status("running")
            held_back.setTarget(folder.log_handler())
            held_back.flush()
        with recorded(parts.trainer, inputs.settings, folder, whole or folder):
            best = fit_and_test(parts, folder, clock)
            if not is_main_process():
                return {}
            facts = known | parts.facts(clock)
            return finish(parts.trainer, parts.module, parts.datamodule, cfg, folder, facts, best)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    try:
        folder = given_folder()
        if is_sweep_job():
            return run_job(cfg, folder)
    except UserError as error:
        fail(str(error))
    folder = own_folder(folder)
    # References in it may be meant for the config of the run.
    given: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    try:
        train(cfg, folder, given)
    except UserError as error:
        if is_main_process():
            fail(str(error))
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        folder.discard_if_empty()
    return None


if __name__ == "__main__":
    with with_folder(sys.argv):
        run_command(compared(main), "train", paths=("run",))
