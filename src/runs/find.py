"""Which runs there are in a folder, and which of them a command means."""

from __future__ import annotations

from pathlib import Path

from src.config.monitor import sign
from src.errors import UserError
from src.files.paths import user_path
from src.runs.folder import RunFolder

RUNS = Path("outputs/runs")


def runs_in(root: Path) -> list[RunFolder]:
    """All runs in a folder, however deep, by name; the first half of a run in two halves belongs to that run."""
    folders = {file.parent for file in root.rglob("config.yaml")}
    return [RunFolder(folder) for folder in sorted(folders) if folder.parent not in folders]


def find_run(name: str, sweep: str | None = None) -> RunFolder:
    """The run that a command names.

    Args:
        name: its folder; `latest`, the last that finished; or `best`, the one with the best value of what it watched.
        sweep: the folder of a sweep, whose runs are meant instead of all.

    Raises:
        UserError: no run there has finished, or it is not said of which runs, or by which metric, the best is meant.
    """
    if name not in ("latest", "best"):
        return RunFolder(user_path(name))
    if name == "best" and not sweep:
        raise UserError("run=best needs to know of which runs; give their sweep: sweep=outputs/sweeps/NAME.")
    root = user_path(sweep) if sweep else RUNS
    finished = [folder for folder in runs_in(root) if folder.state() == "finished"]
    if not finished:
        raise UserError(
            f"run={name} needs a finished run; {root} holds none.\nTrain one, or give a folder: run=FOLDER."
        )
    if name == "latest":
        return max(finished, key=lambda folder: (folder.path / "result.json").stat().st_mtime)
    metrics = sorted({str(folder.saved_config().monitor.metric) for folder in finished})
    if len(metrics) > 1:
        watching = f"run=best needs runs that watched the same metric; those in {root} watched {', '.join(metrics)}"
        raise UserError(f"{watching}.\nName one: run=FOLDER.")
    values = {f: v * sign(metrics[0]) for f in finished if (v := f.monitored()) is not None}
    if not values:
        raise UserError(f"run=best needs runs whose result holds the metric they watched; {root} has none.")
    return max(values, key=lambda folder: values[folder])
