"""Processes of jobs: a forked one ends as a new one does, and gives the same results bit for bit."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.config.folder import CONF
from src.runs.folder import RunFolder
from src.sweeps import processes
from tests.conftest import Command

SMALL = ("data.limit=40", "data.max_length=32", "trainer=cpu", "callbacks.progress=null")
ENDS = ("surroundings", "chatter", "bug", "kill", "term", "0", "2", "141")
BOTH_WAYS = f"""
import json
from src.sweeps.processes import run_process

for warm in (True, False):
    ended = [run_process(["-m", "tests.sweeps.ending", how], {{"COLOUR": "red"}}, warm) for how in {ENDS}]
    print("ENDED", json.dumps(ended))
"""


@pytest.mark.slow
def test_a_forked_process_ends_as_a_new_one_does() -> None:
    script = subprocess.run(
        [sys.executable, "-c", BOTH_WAYS], capture_output=True, text=True, cwd=CONF.parent, check=True
    )
    assert "none can be forked" not in script.stderr
    forked, new = (json.loads(line.removeprefix("ENDED ")) for line in script.stdout.splitlines() if "ENDED" in line)
    assert [code for code, _ in new] == [1, 0, 1, -signal.SIGKILL, -signal.SIGTERM, 0, 2, 141]
    assert [code for code, _ in forked] == [code for code, _ in new]
    assert [said.splitlines()[-1:] for _, said in forked] == [said.splitlines()[-1:] for _, said in new]
    about = dict(zip(ENDS, (said for _, said in forked), strict=True))
    assert "'red', None" in about["surroundings"]
    assert about["chatter"].splitlines() == [f"line {number}" for number in range(8, 20)]
    assert about["bug"].endswith("RuntimeError: out of luck")
    assert [script.stdout.count(f"out of {how}\n") for how in ENDS] == [2] * len(ENDS)


def test_where_nothing_can_be_forked_processes_are_new_and_the_log_says_why_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "_ask_template", lambda: "their template has 2 threads")
    processes._template_is_safe.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert processes.run_process(["-c", "import sys; sys.exit('no')"], {}, warm=True) == (1, "no")
    processes._template_is_safe.cache_clear()
    assert caplog.messages == [
        "Each job imports all libraries itself, since none can be forked: their template has 2 threads."
    ]


@pytest.mark.slow
def test_a_forked_job_gives_the_same_as_a_run_bit_for_bit(multirun: Command, tmp_path: Path, tiny_bert: Path) -> None:
    options = ["model=bert_linear", "model.dropout=0.1", "freeze=none", "callbacks.checkpoint.weights_only=true"]
    sweep = multirun("seed=1,2", *options)
    assert sweep.returncode == 0, sweep.stderr
    assert "none can be forked" not in sweep.stderr
    job, alone = RunFolder(tmp_path / "sweep" / "none_seed_2_1"), RunFolder(tmp_path / "alone")
    small = [f"backbone.name={tiny_bert}", *SMALL, "trainer.max_epochs=1"]
    command = [sys.executable, "-m", "src.train", *small, *options, "seed=2", f"cache={tmp_path}", f"run={alone.path}"]
    subprocess.run(command, cwd=CONF.parent, check=True, stdout=subprocess.DEVNULL)
    assert job.digests() == alone.digests()
    ours, theirs = job.read_result(), alone.read_result()
    assert [key for key in ("metrics", "history", "config_hash") if ours[key] != theirs[key]] == []


@pytest.mark.slow
@pytest.mark.parametrize(("told", "code"), [("all SIGINT", 130), ("sweep SIGTERM", 143)])
def test_a_sweep_that_is_told_to_stop_waits_until_its_job_has_saved(
    told: str, code: int, tmp_path: Path, tiny_bert: Path
) -> None:
    endless = ["seed=1,2", "model=bert_linear", "trainer.max_epochs=100000", "callbacks=no_early_stopping"]
    folders = [f"backbone.name={tiny_bert}", f"cache={tmp_path}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    command = [sys.executable, "-m", "src.train", "-m", *SMALL, *endless, *folders]
    job = RunFolder(tmp_path / "sweep" / "all_seed_1_0")
    # In the background of a shell SIGINT is ignored, also by processes that are started there, unless it has a handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=CONF.parent, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as sweep:
        signal.signal(signal.SIGINT, before)
        while not job.last_checkpoint.exists():
            assert sweep.poll() is None, sweep.communicate()[1]
            time.sleep(0.1)
        who, name = told.split()
        (os.killpg if who == "all" else os.kill)(sweep.pid, signal.Signals[name])
        try:
            said = sweep.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            os.killpg(sweep.pid, signal.SIGKILL)
            raise
    assert sweep.returncode == code, said
    assert job.state() == "interrupted"
    assert "Interrupted; 1 of 2 jobs have not begun." in said
    assert "Traceback" not in said
