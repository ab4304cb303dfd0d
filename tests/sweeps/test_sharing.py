"""What the jobs of a multirun are told so that each takes its share of the cores."""

from __future__ import annotations

import joblib
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.config.folder import CONF
from src.sweeps.sharing import SLEEPING, share_of_cores, side_by_side

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=3")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores, where the user has set nothing."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", *SLEEPING):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: 8)


def whole(*overrides: str) -> DictConfig:
    """The config of a multirun, with Hydra's own."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", ["run=unset", *overrides], return_hydra_config=True)


@pytest.mark.parametrize(
    ("options", "jobs", "running"),
    [
        ((), 12, 1),
        (JOBLIB, 12, 3),
        (JOBLIB, 2, 2),
        (("hydra/launcher=submitit_local",), 12, 12),
        (("hydra/launcher=submitit_slurm",), 12, 1),
        (("hydra/launcher=ray",), 12, 1),
        ((*JOBLIB, "sweep=search"), 20, 1),
        ((*JOBLIB, "sweep=search", "hydra.sweeper.n_jobs=2"), 20, 2),
        (("hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=4"), 12, 4),
    ],
)
def test_launchers_run_so_many_jobs_at_a_time(options: tuple[str, ...], jobs: int, running: int) -> None:
    for module in ("submitit", "optuna"):
        pytest.importorskip(module)
    assert side_by_side(whole(*options).hydra, jobs) == running


def test_jobs_side_by_side_share_the_cores_and_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, two = whole(), whole("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert share_of_cores(alone, alone.hydra, 12) == {}
    assert share_of_cores(two, two.hydra, 12) == {"OMP_NUM_THREADS": "4", **SLEEPING}
    parallel = whole("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer=ddp", "trainer.devices=2")
    assert share_of_cores(parallel, parallel.hydra, 12)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert share_of_cores(two, two.hydra, 12) == {
        **SLEEPING,
        "OMP_WAIT_POLICY": "ACTIVE",
        "OMP_NUM_THREADS": "3",
    }
