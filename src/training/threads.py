"""How many threads a training computes with: its share of the cores that its process may use."""

from __future__ import annotations

import logging
import os

from src.config.trainer_switches import Trainer

log = logging.getLogger(__name__)


def use_threads(chosen: Trainer) -> None:
    """Sets the number of threads of PyTorch and of the tokenizers in this process, and logs it.

    Args:
        chosen: the trainer's section; without `threads`, OMP_NUM_THREADS decides, and without that the cores.
    """
    import torch

    processes = local_processes(chosen.devices)
    number = chosen.threads or default_threads(processes)
    if processes > 1:  # the others read it; otherwise Lightning sets it, and in this process too
        os.environ["OMP_NUM_THREADS"] = str(number)
    os.environ.setdefault("RAYON_NUM_THREADS", str(number))
    torch.set_num_threads(number)
    log.info("Computing with %d thread%s", number, "s" * (number > 1))


def default_threads(sharing: int) -> int:
    """Returns OMP_NUM_THREADS if it is a number, otherwise a process's share of the cores, at least 1.

    Args:
        sharing: how many processes compute side by side, at least 1.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # those after the first are of nested loops
    return (int(given) if given.isdecimal() else 0) or max(1, _cores() // sharing)


def local_processes(devices: object) -> int:
    """Returns how many processes of a run are on this machine, as far as `trainer.devices` gives their number."""
    return max(1, int(str(devices))) if str(devices).isdecimal() else 1


def _cores() -> int:
    """The cores that this process may use: those of the machine, of its affinity, of its cgroup, or of SLURM's task."""
    import joblib

    # Two hyper-threads of a core are slower at matrix products than one; PyTorch too counts cores.
    found = int(joblib.cpu_count(only_physical_cores=True))
    task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(found, int(task)) if task.isdecimal() else found
