"""Which process writes files, by what starts the processes of a run."""

from __future__ import annotations

import pytest
import torch.distributed

from src.files.ranks import is_main_process, of_this_rank


@pytest.mark.parametrize(
    ("variables", "main"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "4"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),  # torchrun's
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"NODE_RANK": "0"}, True),  # started by hand on each node
        ({"NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "1"}, False),
    ],
)
def test_one_process_of_a_run_writes(variables: dict[str, str], main: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() == main


@pytest.mark.parametrize(("rank", "saved", "found"), [(None, "ab", "a"), (1, "ab", "b"), (1, "a", "a")])
def test_a_process_takes_its_own_value_or_that_of_the_first(
    rank: int | None, saved: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: rank is not None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    assert of_this_rank([*saved]) == found
