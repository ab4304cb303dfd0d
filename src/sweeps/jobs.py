"""The jobs of a sweep: each runs in its own process, and finished ones are not repeated.

A launcher decides where and when jobs run (`hydra/launcher=…`). A job receives only its folder and its overrides, so
one that raises, is killed or runs out of memory does not affect the others.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from src.config.folder import CONF
from src.config.quoting import quoted
from src.errors import UserError
from src.files.told import not_told
from src.runs.find import runs_in
from src.runs.folder import JOB, RunFolder
from src.runs.identity import config_hash
from src.runs.saved_config import trust
from src.runs.write_guard import changeable
from src.sweeps.processes import run_process
from src.sweeps.progress import number_of_jobs, progress
from src.sweeps.sharing import is_launcher, share_of_cores

INTERRUPTED = (130, 141, 143)  # exit codes of jobs that ended by a signal or a broken pipe: the sweep ends too


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
    chosen = _job_folder(cfg, folder, root)
    if chosen.path != folder.path:
        folder.discard_if_empty()  # which Hydra has made
    value = _run_job(cfg, chosen)
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
    if _is_in_training(folder):
        return None
    resume = folder.last_checkpoint.exists()
    if folder.path.exists() and not resume:
        shutil.rmtree(folder.path)
    code, errors = _train(cfg, folder, resume)
    if code in INTERRUPTED:
        raise SystemExit(code)
    if folder.state() == "finished":  # even if it was killed while it drew its figures
        return folder.monitored()
    if not _is_in_training(folder):  # since a moment ago
        _record_failure(cfg, folder, _reason(code, folder, errors), errors)
    return None


def _is_in_training(folder: RunFolder) -> bool:
    """Whether another process trains the run, which is told: a job on a cluster outlives the multirun that began it.
    This multirun has no result of it then, and leaves its folder alone."""
    try:
        folder.refuse_training()
    except UserError as error:
        print(error, file=sys.stderr)
        return True
    return False


def _train(cfg: DictConfig, folder: RunFolder, resume: bool) -> tuple[int, str]:
    """Trains in a process of its own; returns its exit code and the last lines of its standard error."""
    hydra = HydraConfig.get()
    given = [o for o in hydra.overrides.task if not o.startswith(("run=", "resume="))]
    overrides = ["resume=true", *changeable(folder.saved_config("reading"), given)] if resume else given
    arguments = [*config_folders(), *overrides, f"run={quoted(str(folder.path))}", "hydra.mode=RUN"]
    warm = is_launcher(hydra, "BasicLauncher", "JoblibLauncher")  # others start one process per job as it is
    share = share_of_cores(cfg, hydra, number_of_jobs())
    return run_process(["-m", "src.train", *arguments], {**share, JOB: "1"}, warm)


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
    if folder.state() != "finished" and not _is_in_training(folder):
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
    """Returns the folder in the sweep with this job's config; otherwise the launcher's, with a number behind it where
    another job has that."""
    wanted, taken = config_hash(cfg), {run.path: run for run in runs_in(root)}
    for run in taken.values():
        with contextlib.suppress(UserError):  # a run that has failed may have values of the wrong type
            if config_hash(run.saved_config("reading")) == wanted:
                return run
    names = itertools.chain([folder.name], (f"{folder.name}_{number}" for number in itertools.count(2)))
    return RunFolder(next(path for path in map(folder.path.with_name, names) if path not in taken))


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


def is_sweep_job() -> bool:
    """Returns whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
