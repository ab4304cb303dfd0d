"""The progress of a sweep: how many of its jobs are done, and what is left of one that was interrupted.

Jobs of any launcher count alike, by an environment variable and the folder of the sweep.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from src.runs.find import runs_in
from src.runs.folder import RunFolder

JOBS = "THAW_SWEEP"  # environment variable of the jobs: the number of jobs and the start time of the sweep


def begin_counting(jobs: int) -> None:
    """Says how many jobs a sweep has, which starts now."""
    os.environ[JOBS] = f"{jobs} {time.time()}"


def count_more(jobs: int) -> None:
    """Adds to the number of jobs that progress is measured by."""
    before, started = _counted()
    os.environ[JOBS] = f"{before + jobs} {started}"


def number_of_jobs() -> int:
    """Returns how many jobs the sweep has that this process is of; 1 outside of a sweep."""
    return _counted()[0] if JOBS in os.environ else 1


def _counted() -> tuple[int, float]:
    """Returns the number of jobs, and when the sweep has started."""
    jobs, started = os.environ[JOBS].split()
    return int(jobs), float(started)


def progress(root: Path) -> str:
    """Returns the progress of the sweep in a folder as a sentence; empty outside of a sweep."""
    if JOBS not in os.environ:
        return ""
    jobs, started = _counted()
    folders = _begun(root, started)
    states = [folder.state() for folder in folders]
    done, failed, running = (states.count(state) for state in ("finished", "failed", "running"))
    text = f"Sweep: {done} of {jobs} jobs done, {failed} failed, {running} running"
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
    jobs, started = _counted()
    left = jobs - len(_begun(root, started))
    command = shlex.join(a for a in arguments if not a.startswith("sweep.rerun="))
    return f"Interrupted; {left} of {jobs} jobs have not begun. Go on with: python -m src.train {command}"
