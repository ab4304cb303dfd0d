"""How many jobs of a multirun share the cores of a machine, and what each is told so that it takes its share."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig

from src.training.threads import default_threads, local_processes

# Threads that wait take a core from the other jobs unless they sleep; the second is that of Intel's and LLVM's OpenMP.
SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def share_of_cores(cfg: DictConfig, hydra: Any, jobs: int) -> dict[str, str]:
    """Returns the environment variables with which a job takes its share of cores that it does not have for itself;
    those that the user has set stay.

    Args:
        cfg: of the job.
        hydra: Hydra's config of the multirun.
        jobs: of the multirun.
    """
    running = side_by_side(hydra, jobs)
    if running == 1:
        return {}
    threads = default_threads(running * local_processes(cfg.trainer.devices))
    sleeping = {name: os.environ.get(name, value) for name, value in SLEEPING.items()}
    return {**sleeping, "OMP_NUM_THREADS": str(threads)}


def side_by_side(hydra: Any, jobs: int) -> int:
    """Returns how many jobs run on this machine at a time. On Ray and SLURM each has cores of its own.

    Args:
        hydra: Hydra's config of the multirun.
        jobs: of the multirun.
    """
    launcher, sweeper = hydra.launcher, hydra.sweeper
    batch = sweeper.get("n_jobs") or sweeper.get("max_batch_size") or jobs
    if is_launcher(hydra, "LocalLauncher"):  # submitit's
        return int(min(jobs, batch))
    if is_launcher(hydra, "JoblibLauncher"):
        import joblib

        return min(jobs, batch, int(joblib.effective_n_jobs(launcher.n_jobs)))
    return 1


def is_launcher(hydra: Any, *names: str) -> bool:
    """Returns whether a multirun has one of these launchers, by the names of their classes."""
    return str(hydra.launcher["_target_"]).rpartition(".")[2] in names
