"""Sweeps on a Ray cluster: two nodes on loopback, of one CPU each."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config.folder import CONF
from src.runs.folder import RunFolder
from tests.conftest import Command

SECOND = "127.0.0.2"  # the address of the second node; all of 127.* is this machine
# One job brings down the node it is on, one ends as if by a signal, and the first ends last of all.
LOSSES = f"""
import os, signal, sys, time, ray
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

def job(cfg):
    if ray.util.get_node_ip_address() == "{SECOND}":
        os.kill(int(os.environ["RAY_RAYLET_PID"]), signal.SIGKILL)
        time.sleep(60)
    if cfg.seed == 3:
        sys.exit(143)
    return cfg.seed

with initialize_config_dir({str(CONF)!r}, version_base="1.3"):
    jobs = GlobalHydra.instance().hydra.multirun("train", job, sys.argv[1:])[0]
    print("came to", [job.return_value for job in jobs])
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of two nodes that were started as users start them."""
    pytest.importorskip("ray")
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}.items():
        monkeypatch.setenv(name, value)
    # Paths of sockets must be shorter than those of pytest's folders.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as name, contextlib.ExitStack() as nodes:
        folder = Path(name)
        head = ("--head", "--port=0", "--include-dashboard=false")
        nodes.enter_context(node(folder / "first.log", *head, f"--temp-dir={folder}"))
        address = (folder / "ray_current_cluster").read_text()
        nodes.enter_context(node(folder / "second.log", f"--address={address}", f"--node-ip-address={SECOND}"))
        yield address


@contextlib.contextmanager
def node(log: Path, *options: str) -> Iterator[None]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", *options]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + 120
            # The last of what it says: "Ray runtime started." comes before the address is written.
            while "This command will now block forever" not in (said := log.read_text()):
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.2)
            yield
        finally:
            process.terminate()


@pytest.mark.slow
def test_a_sweep_goes_to_all_nodes_and_a_job_that_fails_costs_only_itself(
    cluster: str, multirun: Command, tmp_path: Path
) -> None:
    ray = ("hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster}")
    command = ("model=bert_linear", "optimizer.eps=1e-8,-1,1e-7,1e-6", "freeze=bottom", "freeze.layers=1", *ray)
    shown = multirun(*command, "hydra.launcher.ray.init.log_to_driver=true")
    assert shown.returncode == 1, shown.stderr
    assert "Sweep: 3 of 4 jobs done, 1 failed, 0 running\n" in shown.stdout
    found = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert len(found["rows"]) == 3
    (problem,) = found["problems"]
    assert "optimizer cannot be built" in problem["problem"]
    # Ray puts the node before what its jobs print, but for the driver's own.
    places = re.findall(r"^\S*\(_run_job pid=\d+(, ip=\S+)?\)\S* Test accuracy", shown.stdout, re.MULTILINE)
    assert set(places) == {"", f", ip={SECOND}"}
    # Both nodes have one store: the last job reads what another has encoded.
    assert len(list(tmp_path.glob("activations/*/values.bin"))) == 1


@pytest.mark.slow
def test_a_job_whose_node_is_lost_is_a_failed_job(cluster: str, tmp_path: Path) -> None:
    options = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster}", "~hydra.callbacks.compare"]
    command = [sys.executable, "-c", LOSSES, "seed=1,2,3,4,5", f"hydra.sweep.dir={tmp_path}", *options]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    failed = [RunFolder(file.parent) for file in tmp_path.glob("*/status.json")]
    problems = {int(run.saved_config().seed): run.problem() for run in failed}
    assert problems.pop(3) == "lost on Ray (RuntimeError: exit code 143)"
    ((lost, problem),) = problems.items()
    assert "node" in problem
    assert f"came to {[None if seed in (3, lost) else seed for seed in range(1, 6)]}" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [("init.address=127.0.0.1:1", "must connect to a Ray cluster"), ("remote.num_gpus=99", "has; it requests")],
)
def test_a_cluster_that_cannot_run_the_jobs_is_refused(multirun: Command, option: str, message: str) -> None:
    ended = multirun("seed=1,2", "hydra/launcher=ray", f"hydra.launcher.ray.{option}")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
