"""Runs that are told to stop save first, say so with their exit code, and lose nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.faults.conftest import Make
from tests.faults.runs import Ended, Moment
from tests.faults.test_kills import same

pytestmark = pytest.mark.slow

CASES = {
    "in a step": ("unfrozen", Moment("on_train_batch_start", 5, signal.SIGTERM), 5),
    "in the last step of an epoch": ("unfrozen", Moment("on_train_batch_start", 8, signal.SIGINT), 8),
    "while gradients are added up": ("phases", Moment("on_train_batch_start", 5, signal.SIGTERM), 3),
    "in a validation": ("unfrozen", Moment("on_validation_batch_start", 2, signal.SIGTERM), 8),
    "in a validation in the last phase": ("restored", Moment("on_validation_batch_end", 11, signal.SIGINT), 9),
    "at the end of an epoch": ("early stopping", Moment("on_train_epoch_end", 1, signal.SIGTERM), 8),
    "of masked words": ("masked", Moment("on_validation_batch_start", 5, signal.SIGTERM), 16),
}


@pytest.mark.parametrize("case", CASES)
def test_told_to_stop(case: str, make: Make, untouched: Callable[[str], Ended]) -> None:
    situation, moment, steps = CASES[case]
    training = make(situation, "callbacks.checkpoint.every_minutes=1000")
    ended = training(moment)
    assert ended.code == 128 + moment.number, ended.output
    assert "Interrupted. Resume it with" in ended.output
    assert "Traceback" not in ended.output
    last = torch.load(training.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == steps
    same(training(resume=True), untouched(situation))


def test_told_to_stop_before_there_is_anything_to_save(make: Make, untouched: Callable[[str], Ended]) -> None:
    training = make("stored")
    ended = training(Moment("src.caching.encoding:_encode", 1, signal.SIGTERM))
    assert ended.code == 143, ended.output
    same(training(resume=True), untouched("stored"))


def test_a_job_of_slurm_goes_back_into_the_queue(make: Make, untouched: Callable[[str], Ended], tmp_path: Path) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "thaw", "SLURM_NTASKS": "1", "SLURM_NODELIST": "localhost"}
    job |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    training = make("unfrozen", "callbacks.checkpoint.every_minutes=1000", **job)
    ended = training(Moment("on_train_batch_start", 5, signal.SIGUSR1))
    assert ended.code == 128 + signal.SIGUSR1, ended.output
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    training.environment["SLURM_RESTART_COUNT"] = "1"
    same(training(), untouched("unfrozen"))  # the very same command


def test_told_twice_it_ends_at_once(make: Make, untouched: Callable[[str], Ended]) -> None:
    training = make("unfrozen", "callbacks.checkpoint.every_minutes=1000")
    ended = training(Moment("on_train_batch_start", 13, signal.SIGTERM, times=2))
    assert ended.code == 143
    last = torch.load(training.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 8  # of the first epoch's end
    same(training(resume=True), untouched("unfrozen"))
