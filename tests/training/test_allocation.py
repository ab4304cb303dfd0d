"""Memory that a step frees is there for the next one: large tensors come from malloc's heap, which keeps it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

# How many blocks malloc has mapped for a tensor of 40 MB alone, to be given back with it.
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
tensor = torch.zeros(10_000_000)
print(mallinfo2().hblks - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer"
)
def test_large_tensors_are_kept_unless_the_user_has_set_thresholds() -> None:
    assert _mapped() == 0
    assert _mapped(MALLOC_MMAP_THRESHOLD_="1000000") == 1


def _mapped(**environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    ended = subprocess.run(
        [sys.executable, "-c", MAPPED], env=clean | environment, capture_output=True, text=True, check=True
    )
    return int(ended.stdout)
