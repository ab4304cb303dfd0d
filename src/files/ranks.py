"""The ranks of a distributed run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def is_main_process() -> bool:
    """Whether this process has rank 0 and so writes files. Known before the process group is initialised."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
    first = next((os.environ[name] for name in names if name in os.environ), "0") == "0"
    # Where the command is started by hand on each node, the first process of each has no other rank.
    return first and ("RANK" in os.environ or os.environ.get("NODE_RANK", "0") == "0")


def gather(mine: Any) -> list[Any]:
    """Returns the values of all processes, by rank, in every process (all-gather)."""
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, mine)
    return everyone


def of_this_rank(everyone: Sequence[T]) -> T:
    """Returns this process's value of those that `gather` has returned; the first rank's where there were fewer."""
    import torch.distributed

    known = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if known else 0
    return everyone[rank if rank < len(everyone) else 0]
