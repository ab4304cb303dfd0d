"""The speed limit of this machine: matrix products alone, at the sizes of the encoder.

python -m benchmarks.limit      # the largest products and copies of this machine's GPU, or of its CPU
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from src.arrays import NDArray

ROWS = {"cpu": 2_048, "cuda": 16_384}  # tokens per matrix product
MOST = 3.0  # seconds, on a slow device


def matmul_flops_per_second(dtype: torch.dtype, width: int, inner: int, device: str = "cpu") -> float:
    """Returns the highest speed of `ROWS x width` by `width x inner` products, in FLOPs per second."""
    rows = ROWS[device]
    left = torch.randn(rows, width, dtype=dtype, device=device)
    right = torch.randn(inner, width, dtype=dtype, device=device)
    repeats = max(10, int((5e9 if device == "cpu" else 5e12) / (2 * rows * width * inner)))
    best, end = float("inf"), time.perf_counter() + MOST
    for _ in range(10):
        begin = now(device)
        for _ in range(repeats):
            torch.nn.functional.linear(left, right)
        best = min(best, (now(device) - begin) / repeats)
        if time.perf_counter() > end:
            break
    return 2 * rows * width * inner / best


def copied_bytes_per_second(size: int, device: str) -> float:
    """Returns the bytes that a copy within the device's memory reads and writes, per second."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(10):
        begin = now(device)
        target.copy_(source)
        best = min(best, now(device) - begin)
    return 2 * size / best


def now(device: str) -> float:
    """Returns the time in seconds, when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def forward_flops(lengths: NDArray[np.int64], layers: int, width: int, inner: int) -> float:
    """Returns the FLOPs of the matrix products in one forward pass over texts of these lengths, without padding."""
    dense = 2 * lengths.sum() * (4 * width * width + 2 * width * inner)
    attention = 4 * (lengths.astype(np.float64) ** 2).sum() * width
    return float(layers * (dense + attention))


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = {"cuda": 8_192, "cpu": 512}[device]
    found = {
        "product_tflops": matmul_flops_per_second(torch.bfloat16, size, size, device) / 1e12,
        "copy_gb_per_second": copied_bytes_per_second({"cuda": 4 << 30, "cpu": 64 << 20}[device], device) / 1e9,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
