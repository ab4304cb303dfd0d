"""Memory that a step frees is there for the next one: large tensors come from malloc's heap, which keeps it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from src import train as training
from src.training import allocation

# How many blocks malloc has mapped for a tensor of 20 MB alone, to be given back with it.
MAPPED = """
import ctypes
from src.training.allocation import keep_freed_memory

class Mallinfo2(ctypes.Structure):
    # hblks: blocks of their own
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

keep_freed_memory()
import torch

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
before = mallinfo2().hblks
tensor = torch.zeros(5_000_000)
print(mallinfo2().hblks - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer"
)
def test_large_tensors_are_kept_unless_the_user_has_set_thresholds() -> None:
    assert _mapped() == 0
    assert _mapped(MALLOC_MMAP_THRESHOLD_="1000000") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc's parameters")
@pytest.mark.parametrize(("most", "set_to"), [(1 << 30, [128 << 20]), (32 << 20, [32 << 20]), (0, [])])
def test_a_threshold_that_malloc_refuses_gives_way_to_a_smaller_one(
    most: int, set_to: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> bool:
        fits = parameter == allocation.TRIM_THRESHOLD or value <= most
        taken.extend([(parameter, value)] * fits)
        return fits

    for name in allocation.OWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    allocation.keep_freed_memory()
    assert [value for parameter, value in taken if parameter == allocation.MMAP_THRESHOLD] == set_to
    assert len(taken) == 2 * len(set_to)  # the other threshold is set along with it or not at all


def _mapped(**environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    ended = subprocess.run(
        [sys.executable, "-c", MAPPED], env=clean | environment, capture_output=True, text=True, check=True
    )
    return int(ended.stdout)


PEAKS = """
from pathlib import Path
from src.training.allocation import forget_peak

peak = lambda: int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024  # MB
large = b"x" * (300 << 20)
del large
forget_peak()  # the first training of the process
before = peak()
forget_peak()
print(before - peak())
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system has one peak for a process")
def test_a_training_does_not_have_the_peak_of_an_earlier_one() -> None:
    """As where a notebook trains everything first, and then a head."""
    found = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    assert int(found.stdout) > 250


def test_each_training_forgets_the_peak_before_it(run_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(training, "forget_peak", lambda: called.append("forgotten"))
    run_tiny("model=bert_linear", "freeze=all", name="first")
    run_tiny("model=bert_linear", "freeze=all", name="second")
    assert len(called) == 2
