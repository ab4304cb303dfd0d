"""How a training ends that is asked to. That it is saved then is in tests/faults."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src import train as training
from src.callbacks import saving
from src.errors import UserError
from src.runs.checkpoints import read_verified
from src.runs.folder import RunFolder
from tests.conftest import composed, power_cut


@pytest.mark.parametrize("queue", ["missing", "refusing"])
def test_a_queue_that_does_not_take_the_job_back_is_named(
    queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if queue == "refusing":
        (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    trainer: Any = SimpleNamespace(is_global_zero=True)
    with pytest.raises(SystemExit) as ended:
        saving._stop(trainer, signal.SIGUSR1)
    assert ended.value.code == 128 + signal.SIGUSR1
    assert "The job is not back in the queue of SLURM" in caplog.text


def test_a_disk_must_have_room_for_three_states_of_all_phases_less_those_it_has(
    run_tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["model=bert_linear", "freeze=lp_ft", "freeze.epochs=1", "data.batch_size=8"]
    folder, _ = run_tiny(*options, name="whole")
    size = folder.last_checkpoint.stat().st_size
    weights = sum(tensor.nbytes for tensor in read_verified(folder.last_checkpoint)["state_dict"].values())
    free = 9 * weights - 1  # a state has the weights, and Adam keeps two moments of each
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(UserError, match="must have room for the checkpoints"):
        run_tiny(*options, name="refused")
    free = 3 * size
    with power_cut(1, 3):
        run_tiny(*options, name="cut")
    free = 2 * size  # the last and the best are there; the best, of the first phase, is smaller
    training.train(composed(f"run={tmp_path / 'cut'}", "resume=true"), RunFolder(tmp_path / "cut"))
