"""Finds runs in a folder, and the run that a command names."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.config.monitor import sign
from src.errors import UserError
from src.files.paths import user_path
from src.runs.folder import RunFolder

RUNS = Path("outputs/runs")


def runs_in(root: Path) -> list[RunFolder]:
    """Returns all runs in a folder, at any depth, by name. The pretraining of a pretrain-then-classify run is part of
    that run."""
    folders = {file.parent for file in root.rglob("config.yaml")}
    return [RunFolder(folder) for folder in sorted(folders) if folder.parent not in folders]


def check_named(cfg: DictConfig) -> None:
    """
    Args:
        cfg: of a command that needs a run.

    Raises:
        UserError: no run is named.
    """
    if not OmegaConf.is_missing(cfg, "run"):
        return
    try:
        choices = f"run=latest, which is {find_run('latest', cfg.sweep_folder).path}, or run=FOLDER"
    except UserError:
        choices = (
            f"run=FOLDER. {RUNS} has no finished run: python -m src.train trains one; outputs/sweeps has multiruns"
        )
    raise UserError(f"run has no value; it names the run to use.\nGive one: {choices}.")


def find_run(name: str, sweep: str | None = None) -> RunFolder:
    """Returns the run that a command names.

    Args:
        name: its folder; `latest`, the last that finished; or `best`, the one with the best monitored metric.
        sweep: the folder of a sweep, to search instead of all runs.

    Raises:
        UserError: no run has finished there, or `best` is ambiguous: no sweep is given, or its runs monitor different
            metrics.
    """
    if name not in ("latest", "best"):
        return RunFolder(user_path(name))
    if name == "best" and not sweep:
        raise UserError("run=best needs a sweep to choose from: sweep=outputs/sweeps/NAME.")
    root = user_path(sweep) if sweep else RUNS
    finished = [folder for folder in runs_in(root) if folder.state() == "finished"]
    if not finished:
        raise UserError(f"run={name} needs a finished run; {root} has none.\nTrain one, or give a folder: run=FOLDER.")
    if name == "latest":
        return max(finished, key=lambda folder: (folder.path / "result.json").stat().st_mtime)
    metrics = sorted({str(folder.saved_config("reading").monitor.metric) for folder in finished})
    if len(metrics) > 1:
        different = f"run=best needs runs that monitor the same metric; those in {root} monitor {', '.join(metrics)}"
        raise UserError(f"{different}.\nName one: run=FOLDER.")
    values = {f: v * sign(metrics[0]) for f in finished if (v := f.monitored()) is not None}
    if not values:
        raise UserError(f"run=best needs runs whose result has the monitored metric; {root} has none.")
    return max(values, key=lambda folder: values[folder])
