"""The speed limit of this machine: matrix products alone, at the sizes of the encoder."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

ROWS = 2_048  # tokens per matrix product


def matmul_flops_per_second(dtype: torch.dtype, width: int, inner: int) -> float:
    """Returns the highest speed of `ROWS x width` by `width x inner` products, in FLOPs per second."""
    left, right = torch.randn(ROWS, width, dtype=dtype), torch.randn(inner, width, dtype=dtype)
    repeats = max(10, int(5e9 / (2 * ROWS * width * inner)))
    best = float("inf")
    for _ in range(10):
        begin = time.perf_counter()
        for _ in range(repeats):
            torch.nn.functional.linear(left, right)
        best = min(best, (time.perf_counter() - begin) / repeats)
    return 2 * ROWS * width * inner / best


def forward_flops(lengths: NDArray[np.int64], layers: int, width: int, inner: int) -> float:
    """Returns the FLOPs of the matrix products in one forward pass over texts of these lengths, without padding."""
    dense = 2 * lengths.sum() * (4 * width * width + 2 * width * inner)
    attention = 4 * (lengths.astype(np.float64) ** 2).sum() * width
    return float(layers * (dense + attention))
