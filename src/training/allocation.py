"""The memory of tensors: kept when a step frees it, and in huge pages; and of a training that follows another."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import sys
from pathlib import Path

# Parameters of glibc's mallopt, from malloc.h, and what they are called in the environment.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


MMAP_SIZES = (128, 32)  # in MB, of which the first that malloc takes is chosen

_trainings = itertools.count()  # of this process


def keep_freed_memory() -> None:
    """Lets this process reuse the memory of large tensors instead of giving it back to the system.

    Each step frees and takes the same tensors, such as activations and gradients. Memory from the system comes page by
    page, filled with zeros, which is a twelfth of a step where a CPU multiplies fast (docs/speed.md). What the user has
    set in the environment stays, and without glibc nothing changes. To be called before PyTorch is imported.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch's switch for huge pages, on Linux
    if sys.platform != "linux" or any(name in os.environ for name in OWN):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    # The gradient of MiniLM's word embeddings has 47 MB; older versions of glibc take no threshold above 32 MB. Where
    # malloc takes none, the other must stay as it is: setting it ends malloc's own adjusting of both.
    if mallopt and any(mallopt(MMAP_THRESHOLD, size << 20) for size in MMAP_SIZES):
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


def forget_peak() -> None:
    """Frees what earlier trainings of this process have left, as in a notebook, and makes its peak memory that of what
    comes now. Elsewhere than on Linux, or where the system refuses, the peak stays that of the whole process."""
    if not next(_trainings):  # jobs of a multirun share frozen memory with the process that they are forked from
        return
    gc.unfreeze()  # what importing the libraries has left, with all that the first training held, was frozen with them
    gc.collect()
    if sys.platform != "linux":
        return
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc_pid_clear_refs(5)
