"""The processes of a distributed run, or the only one."""

from __future__ import annotations

import os
from typing import Any


def is_main_process() -> bool:
    """Whether this process writes: the first of all. Known before any of them has joined the others."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"


def gather(mine: Any) -> list[Any]:
    """What every process of the run has, in all of them, by rank."""
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, mine)
    return everyone
