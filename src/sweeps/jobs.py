"""The jobs of a sweep: each in a process of its own, none of them twice.

A launcher decides where and when jobs run (`hydra/launcher=…`); all that a job is given is a folder and its overrides,
so one that raises, is killed or runs out of memory costs only itself.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from src.config.folder import CONF
from src.config.monitor import best_mode
from src.config.quoting import quoted
from src.errors import UserError
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.runs.write_guard import changeable

JOBS = "THAW_SWEEP"  # in the environment of jobs: how many there are, and when the sweep began


LINES = 12  # of what a failed job said last


DIRECTIONS = {"min": "minimize", "max": "maximize"}


def direction(metric: str) -> str:
    """What Optuna's search calls the way in which a metric gets better; conf/sweep/search.yaml asks for it."""
    return DIRECTIONS[best_mode(metric)]


OmegaConf.register_new_resolver("direction", direction, replace=True)


def run_job(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Runs one job in a process of its own, unless its result is there, and says how far the sweep has come.

    Args:
        cfg: of the run.
        folder: that the launcher has for it; a job that is in another folder of the sweep goes on there.

    Returns:
        The best value of the monitored metric, for sweepers that look for it; None for a job that failed.
    """
    root = Path(os.path.relpath(HydraConfig.get().sweep.dir))
    found = _run_job(cfg, _place(cfg, folder, root))
    print(progress(root), flush=True)
    return found


def _run_job(cfg: DictConfig, folder: RunFolder) -> float | None:
    if folder.state() == "finished":
        print(f"{folder.path} is finished already")
        return folder.monitored()
    resume = folder.last_checkpoint.exists()
    if folder.path.exists() and not resume:
        shutil.rmtree(folder.path)
    given = [o for o in HydraConfig.get().overrides.task if not o.startswith(("run=", "resume="))]
    overrides = ["resume=true", *changeable(folder.saved_config(), given)] if resume else given
    code, said = run_process(["-m", "src.train", *overrides, f"run={quoted(str(folder.path))}", "hydra.mode=RUN"])
    if code in (130, 141, 143):
        raise SystemExit(code)
    if folder.state() == "finished":  # even if it was killed while it drew its pictures
        return folder.monitored()
    _record_failure(cfg, folder, _reason(code, folder, said), said)
    return None


def fail_job(cfg: DictConfig, folder: RunFolder, root: Path, reason: str) -> None:
    """Records that a job was lost before it could say what it came to; one that had finished stays finished.

    Args:
        cfg: of the run.
        folder: that the launcher has for it.
        root: the folder of the sweep.
        reason: for the comparison.
    """
    folder = _place(cfg, folder, root)
    if folder.state() != "finished":
        _record_failure(cfg, folder, reason)


def _record_failure(cfg: DictConfig, folder: RunFolder, reason: str, said: str = "") -> None:
    """Leaves the reason in status.json, and what the job said last, such as a traceback, at the end of its log."""
    if not (folder.path / "config.yaml").exists():
        with open_dict(cfg):
            cfg.run = str(folder.path)
        folder.claim(cfg)
    folder.write_status("failed", error=reason)
    if not folder.log.is_symlink():
        with folder.log.open("a", encoding="utf-8") as log:
            log.write(f"Failed: {reason}\n{said}\n")


def run_process(arguments: Sequence[str]) -> tuple[int, str]:
    """A Python process with this one's terminal: its exit code, and the last lines that it wrote to standard error."""
    with subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        last: list[str] = []
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                last = [*last, line.rstrip()][-LINES:]
        except SystemExit:  # this process is to end; the terminal tells both of Ctrl-C itself
            process.terminate()
            raise
    return process.returncode, "\n".join(last)


def _place(cfg: DictConfig, folder: RunFolder, root: Path) -> RunFolder:
    """The folder of this job by its config, or the first number that is free from the launcher's on."""
    wanted, taken = config_hash(cfg), {run.path: run for run in runs_in(root)}
    for run in taken.values():
        if config_hash(run.saved_config()) == wanted:
            return run
    number = int(folder.name) if folder.name.isdecimal() else 0
    while folder.path.with_name(str(number)) in taken:
        number += 1
    return RunFolder(folder.path.with_name(str(number))) if folder.path in taken else folder


def _reason(code: int, folder: RunFolder, said: str) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code == 2:
        return said.splitlines()[0] if said else "refused"
    found = folder.problem()
    return found if ":" in found else f"exit code {code}: {said.splitlines()[-1] if said else 'it said nothing'}"


def begin_sweep(config: DictConfig) -> None:
    """Leaves what the jobs need to say how far the sweep has come, where every process that a launcher starts finds it.

    Args:
        config: of the multirun, before its jobs are known.

    Raises:
        UserError: the sweep would look for the worst value of the monitored metric.
    """
    sweeper, given = config.hydra.sweeper, list(config.hydra.overrides.task)
    asked = getattr(sweeper.get("direction"), "name", sweeper.get("direction"))
    if asked in DIRECTIONS.values() and asked != direction(config.monitor.metric):
        raise UserError(
            f"The direction of a search must suit the monitored metric; monitor.metric is {config.monitor.metric}, "
            f"hydra.sweeper.direction is {asked}.\nChoose sweep=search, which takes it from the metric."
        )
    if "n_trials" in sweeper:
        jobs = int(sweeper.n_trials)
    else:
        values = {key: f"{key}={value}" for key, value in (sweeper.params or {}).items()}
        values |= {override.partition("=")[0]: override for override in given}
        parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(list(values.values()))
        counts = {o.get_key_element(): len(list(o.sweep_iterator())) for o in parsed if o.is_sweep_override()}
        if empty := [key for key, count in counts.items() if not count]:
            raise UserError(
                f"A sweep needs values to try; there are none for {', '.join(empty)}.\nFor example: -m freeze=none,all"
            )
        jobs = math.prod(counts.values())
    os.environ[JOBS] = f"{jobs} {time.time()}"


def progress(root: Path) -> str:
    """How far the sweep in a folder has come, as a sentence; empty outside of a sweep."""
    if JOBS not in os.environ:
        return ""
    jobs, started = (float(number) for number in os.environ[JOBS].split())
    folders = runs_in(root)
    states = [folder.state() for folder in folders]
    done, failed, running = (states.count(state) for state in ("finished", "failed", "running"))
    text = f"Sweep: {done} of {jobs:.0f} jobs done, {failed} failed, {running} running"
    ended = [
        folder
        for folder, state in zip(folders, states, strict=True)
        if state in ("finished", "failed") and (folder.path / "status.json").stat().st_mtime > started
    ]
    rest = jobs - done - failed
    if not ended or rest <= 0:
        return text
    end = time.time() + rest * (time.time() - started) / len(ended)
    return f"{text}; at this rate until {time.strftime('%a %H:%M', time.localtime(end))}"


def write_best(folder: Path) -> Path | None:
    """Makes an experiment of the best values that a search has found: `--config-dir FOLDER experiment=best`.

    Args:
        folder: of a sweep.

    Returns:
        The experiment's file; None if the sweep was no search for one best value.
    """
    file = folder / "optimization_results.yaml"
    found = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else None
    if not isinstance(found, dict) or "best_params" not in found:
        return None
    chosen = {key: value for key, value in found["best_params"].items() if (CONF / key).is_dir()}
    values = [f"{key}={value}" for key, value in found["best_params"].items() if key not in chosen]
    overrides = {"defaults": [{f"override /{key}": value} for key, value in chosen.items()]}
    content = OmegaConf.merge(overrides, OmegaConf.from_dotlist(values))
    best = folder / "experiment" / "best.yaml"
    best.parent.mkdir(exist_ok=True)
    title = f"# @package _global_\n# The best of a search: {found['best_value']:g}\n"
    best.write_text(title + OmegaConf.to_yaml(content), encoding="utf-8")
    return best


def is_sweep_job() -> bool:
    """Whether this process was asked to run a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
