"""Fast inference over many texts: batches of similar length, several at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from src.arrays import NDArray

# Tokens per batch, padding included: as many as fit a CPU's cache, or keep a GPU busy.
BATCH_TOKENS = {"cpu": 1_024, "cuda": 16_384}


# Batches in parallel: on a CPU single operations do not use all cores, and while a GPU computes one batch, the next is
# padded and launched.
THREADS = {"cpu": 4, "cuda": 2}


def batches(lengths: NDArray[np.int64], device: torch.device) -> Iterator[slice]:
    """Yields slices of texts sorted by descending length, each with as many texts as fit the budget of tokens."""
    budget = BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    begin = 0
    while begin < len(lengths):
        end = begin + max(1, budget // max(1, int(lengths[begin])))
        yield slice(begin, min(end, len(lengths)))
        begin = end


@contextlib.contextmanager
def batch_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Yields a pool of threads that compute one batch each, and copy what they return to the CPU themselves."""
    cores = torch.get_num_threads()
    threads = min(THREADS["cpu"], cores) if device.type == "cpu" else THREADS.get(device.type, 1)
    before = torch.accelerator.current_stream(device) if device.type == "cuda" else None
    with ThreadPoolExecutor(threads, initializer=_begin, initargs=(max(1, cores // threads), before)) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            # In PyTorch, the number that a thread sets becomes the default of all later threads.
            torch.set_num_threads(cores)


def _begin(cores: int, before: torch.Stream | None) -> None:
    """Gives a thread its cores and, on a GPU, a stream of its own: one batch is computed while the result of another is
    copied, after all that the stream before has begun, such as copies of weights."""
    torch.set_num_threads(cores)
    if before is not None:
        own = torch.Stream(before.device)
        own.wait_stream(before)
        torch.accelerator.set_stream(own)


def cast_matrices(network: nn.Module, dtype: torch.dtype) -> None:
    """Casts the linear layers once, where autocast would cast them in each call; the results are equal."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            layer.to(dtype)


def emulates_bf16(device: str) -> bool:
    """Whether a device computes in bfloat16 without instructions for it: on such a CPU a matrix product takes tens of
    times as long as in float32, and there is no LSTM.

    Args:
        device: its type, such as `cpu` or `cuda`.
    """
    if device == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    # Of oneDNN, which computes the products.
    return device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
