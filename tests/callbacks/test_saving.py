"""How a training ends that is asked to. That it is saved then is in tests/faults."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.callbacks import saving


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
