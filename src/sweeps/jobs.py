"""The jobs of a sweep: each runs in its own process, and finished ones are not repeated.

A launcher decides where and when jobs run (`hydra/launcher=…`). A job receives only its folder and its overrides, so
one that raises, is killed or runs out of memory does not affect the others.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
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
from src.files.told import TOLD, not_told
from src.runs.find import runs_in
from src.runs.folder import JOB, RunFolder
from src.runs.identity import config_hash
from src.runs.saved_config import trust
from src.runs.write_guard import changeable
from src.sweeps.checking import refuse_shared_mistakes
from src.sweeps.folders import WARNINGS
from src.sweeps.processes import run_process
from src.sweeps.sharing import is_launcher, share_of_cores

JOBS = "THAW_SWEEP"  # environment variable of the jobs: the number of jobs and the start time of the sweep


INTERRUPTED = (130, 141, 143)  # exit codes of jobs that ended by a signal or a broken pipe: the sweep ends too


DIRECTIONS = {"min": "minimize", "max": "maximize"}


def direction(metric: str) -> str:
    """Returns Optuna's name of the direction in which a metric improves; used in conf/sweep/search.yaml."""
    return DIRECTIONS[best_mode(metric)]


OmegaConf.register_new_resolver("direction", direction, replace=True)


def run_job(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Runs one job in its own process, unless it has finished before, and prints the progress of the sweep.

    Args:
        cfg: of the run.
        folder: where the launcher puts it; a job that has another folder in the sweep continues there.

    Returns:
        The best value of the monitored metric, for sweepers that optimise it; None if the job failed.

    Raises:
        UserError: the folder is outside of the sweep's folder.
    """
    trust(cfg, CONF)  # by the job too, which may resume what it has begun
    root = Path(os.path.relpath(HydraConfig.get().sweep.dir))
    if root.resolve() not in folder.path.resolve().parents:
        folder.discard_if_empty()
        raise UserError(
            f"Folders of jobs must be inside the folder of their sweep, {root}; this job has {folder.path}.\n"
            "Leave .. out of hydra.sweep.subdir; to leave paths out of ${hydra.job.override_dirname}, give "
            "hydra.job.config.override_dirname.exclude_keys=[data.path]."
        )
    value = _run_job(cfg, _job_folder(cfg, folder, root))
    said = progress(root)
    # Of jobs side by side that end together, the first to come here counts all, and the others would repeat it.
    if not_told([said.partition(" failed")[0]]):
        print(said, flush=True)
    return value


def _run_job(cfg: DictConfig, folder: RunFolder) -> float | None:
    if folder.state() == "finished":
        print(f"{folder.path} has already finished")
        folder.status.touch()  # `progress` counts it from now on
        return folder.monitored()
    resume = folder.last_checkpoint.exists()
    if folder.path.exists() and not resume:
        shutil.rmtree(folder.path)
    code, errors = _train(cfg, folder, resume)
    if code in INTERRUPTED:
        raise SystemExit(code)
    if folder.state() == "finished":  # even if it was killed while it drew its figures
        return folder.monitored()
    _record_failure(cfg, folder, _reason(code, folder, errors), errors)
    return None


def _train(cfg: DictConfig, folder: RunFolder, resume: bool) -> tuple[int, str]:
    """Trains in a process of its own; returns its exit code and the last lines of its standard error."""
    hydra = HydraConfig.get()
    given = [o for o in hydra.overrides.task if not o.startswith(("run=", "resume="))]
    overrides = ["resume=true", *changeable(folder.saved_config("reading"), given)] if resume else given
    arguments = [*config_folders(), *overrides, f"run={quoted(str(folder.path))}", "hydra.mode=RUN"]
    jobs = int(os.environ[JOBS].split()[0]) if JOBS in os.environ else 1
    warm = is_launcher(hydra, "BasicLauncher", "JoblibLauncher")  # others start one process per job as it is
    return run_process(["-m", "src.train", *arguments], {**share_of_cores(cfg, hydra, jobs), JOB: "1"}, warm)


def config_folders() -> list[str]:
    """Returns the arguments with which a command reads the config folders of the user that this one reads."""
    found = [
        source.path
        for source in HydraConfig.get().runtime.config_sources
        if source.schema == "file" and source.provider.endswith("command-line")
    ]
    more = ",".join(quoted(f"file://{path}") for path in found[1:])
    return [*(f"--config-dir={path}" for path in found[:1]), *([f"hydra.searchpath=[{more}]"] if more else [])]


def fail_job(cfg: DictConfig, folder: RunFolder, root: Path, reason: str) -> None:
    """Records that a job was lost before it could record its own end; a finished job stays finished.

    Args:
        cfg: of the run.
        folder: where the launcher put it.
        root: the folder of the sweep.
        reason: shown in the comparison.
    """
    folder = _job_folder(cfg, folder, root)
    if folder.state() != "finished":
        _record_failure(cfg, folder, reason)


def _record_failure(cfg: DictConfig, folder: RunFolder, reason: str, errors: str = "") -> None:
    """Writes the reason into status.json, and the job's last error output, such as a traceback, into its log."""
    if not (folder.path / "config.yaml").exists():
        with open_dict(cfg):
            cfg.run = str(folder.path)
        folder.claim(cfg)
    folder.write_status("failed", error=reason)
    if not folder.log.is_symlink():
        with folder.log.open("a", encoding="utf-8") as log:
            log.write(f"Failed: {reason}\n{errors}\n")


def _job_folder(cfg: DictConfig, folder: RunFolder, root: Path) -> RunFolder:
    """Returns the folder in the sweep with this job's config, or the first free number from the launcher's on."""
    wanted, taken = config_hash(cfg), {run.path: run for run in runs_in(root)}
    for run in taken.values():
        if config_hash(run.saved_config("reading")) == wanted:
            return run
    number = int(folder.name) if folder.name.isdecimal() else 0
    while folder.path.with_name(str(number)) in taken:
        number += 1
    return RunFolder(folder.path.with_name(str(number))) if folder.path in taken else folder


def _reason(code: int, folder: RunFolder, errors: str) -> str:
    """Returns why a job failed, in one line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code == 2:
        return errors.splitlines()[0] if errors else "invalid arguments"
    problem = folder.problem()
    return (
        problem if ":" in problem else f"exit code {code}: {errors.splitlines()[-1] if errors else 'no error output'}"
    )


def begin_sweep(config: DictConfig) -> None:
    """Puts the number of jobs and the start time into the environment, so that jobs of any launcher can print progress,
    and where they find what others have told.

    Args:
        config: of the multirun, before it is split into jobs.

    Raises:
        UserError: a search would look for the worst value of the monitored metric, a swept key has no values, or no
            job could start.
    """
    sweeper, given = config.hydra.sweeper, list(config.hydra.overrides.task)
    chosen = getattr(sweeper.get("direction"), "name", sweeper.get("direction"))
    if chosen in DIRECTIONS.values() and chosen != direction(config.monitor.metric):
        raise UserError(
            f"The direction of a search must match the monitored metric; monitor.metric is {config.monitor.metric}, "
            f"hydra.sweeper.direction is {chosen}.\nChoose sweep=search, which derives it from the metric."
        )
    values = {key: f"{key}={value}" for key, value in (sweeper.params or {}).items()}
    values |= {override.partition("=")[0]: override for override in given}
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(loader).parse_overrides(list(values.values()))
    if "n_trials" in sweeper:
        jobs = int(sweeper.n_trials)
    else:
        counts = {o.get_key_element(): len(list(o.sweep_iterator())) for o in parsed if o.is_sweep_override()}
        if empty := [key for key, count in counts.items() if not count]:
            raise UserError(
                f"A sweep needs values to try; there are none for {', '.join(empty)}.\nFor example: -m freeze=none,all"
            )
        jobs = math.prod(counts.values())
    refuse_shared_mistakes(config, parsed, loader)
    os.environ[JOBS] = f"{jobs} {time.time()}"
    warnings = (Path(config.hydra.sweep.dir) / WARNINGS).resolve()
    warnings.unlink(missing_ok=True)
    os.environ[TOLD] = str(warnings)


def count_more(jobs: int) -> None:
    """Adds to the number of jobs that progress is measured by."""
    before, started = os.environ[JOBS].split()
    os.environ[JOBS] = f"{int(before) + jobs} {started}"


def progress(root: Path) -> str:
    """Returns the progress of the sweep in a folder as a sentence; empty outside of a sweep."""
    if JOBS not in os.environ:
        return ""
    jobs, started = (float(number) for number in os.environ[JOBS].split())
    folders = _begun(root, started)
    states = [folder.state() for folder in folders]
    done, failed, running = (states.count(state) for state in ("finished", "failed", "running"))
    text = f"Sweep: {done} of {jobs:.0f} jobs done, {failed} failed, {running} running"
    # Jobs that had finished before took no time.
    ended = [
        folder
        for folder, state in zip(folders, states, strict=True)
        if state == "failed" or (state == "finished" and _changed(folder.path / "result.json") > started)
    ]
    remaining = jobs - done - failed
    if not ended or remaining <= 0:
        return text
    end = time.time() + remaining * (time.time() - started) / len(ended)
    return f"{text}; expected to end {time.strftime('%a %H:%M', time.localtime(end))}"


def _begun(root: Path, started: float) -> list[RunFolder]:
    """Returns the folders of the jobs that a sweep has come to; others in its folder are of earlier commands."""
    return [folder for folder in runs_in(root) if _changed(folder.status) > started]


def _changed(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0


def interruption(root: Path, arguments: Sequence[str]) -> str:
    """Returns how many jobs of an interrupted sweep have not begun, and the command that goes on.

    Args:
        root: the folder of the sweep.
        arguments: of the command, with that folder.
    """
    jobs, started = (float(number) for number in os.environ[JOBS].split())
    left = int(jobs) - len(_begun(root, started))
    command = shlex.join(a for a in arguments if not a.startswith("sweep.rerun="))
    return f"Interrupted; {left} of {jobs:.0f} jobs have not begun. Go on with: python -m src.train {command}"


def write_best(folder: Path) -> Path | None:
    """Writes the best values of a search as an experiment: `--config-dir FOLDER experiment=best`.

    Args:
        folder: of a sweep.

    Returns:
        The experiment's file; None if the sweep was not a search.
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
    title = f"# @package _global_\n# The best values of a search: {found['best_value']:g}\n"
    best.write_text(title + OmegaConf.to_yaml(content), encoding="utf-8")
    return best


def is_sweep_job() -> bool:
    """Returns whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
