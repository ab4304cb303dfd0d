"""The quick way through a network for many texts: batches of similar length, several at a time on a processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

# Padded places in one batch: as much as a processor's cache holds, or keeps a GPU busy.
BATCH_TOKENS = {"cpu": 1_024, "cuda": 16_384}


THREADS = 4  # batches computed side by side on a processor


def batches(lengths: NDArray[np.int64], device: torch.device) -> Iterator[slice]:
    """Slices of texts in descending length, as many in each as fit the budget: a function of the lengths alone."""
    budget = BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    begin = 0
    while begin < len(lengths):
        end = begin + max(1, budget // max(1, int(lengths[begin])))
        yield slice(begin, min(end, len(lengths)))
        begin = end


@contextlib.contextmanager
def side_by_side(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Threads that each compute a batch, which keeps all cores busy through operations too small to be shared out."""
    cores = torch.get_num_threads()
    threads = min(THREADS, cores) if device.type == "cpu" else 1
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(cores // threads,)) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            # PyTorch takes what a thread sets as the number for all threads to come.
            torch.set_num_threads(cores)


def cast_matrices(network: nn.Module, dtype: torch.dtype) -> None:
    """Gives the matrices the dtype that autocast would cast them to anew in each call; the numbers are the same."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            layer.to(dtype)
