"""The alternative for a frozen backbone with a linear head: sentence-transformers' `encode` and scikit-learn's logistic
regression, whose penalty validation chooses. Of a plain model the text's vector is the mean of its tokens' states.

    python -m benchmarks.embeddings --data DIR --backbone DIR --accelerator gpu
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression

PENALTIES = (0.1, 1.0, 10.0, 100.0)  # values of C


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    device = "cuda" if chosen.accelerator == "gpu" else "cpu"
    encoder = SentenceTransformer(chosen.backbone, device=device)
    encoder.max_seq_length = chosen.max_length
    if chosen.precision == "bf16":
        encoder.bfloat16()
    vectors, labels, seconds = {}, {}, 0.0
    for split in ("train", "validation", "test"):
        with (chosen.data / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        begin = time.perf_counter()
        found = encoder.encode([row["text"] for row in rows], batch_size=256, convert_to_tensor=True)
        vectors[split], labels[split] = found.float().cpu().numpy(), [row["label"] for row in rows]
        seconds += time.perf_counter() - begin
    tried = [LogisticRegression(C=c, max_iter=1000).fit(vectors["train"], labels["train"]) for c in PENALTIES]
    classifier = max(tried, key=lambda one: one.score(vectors["validation"], labels["validation"]))
    return {
        "accuracy": float(classifier.score(vectors["test"], labels["test"])),
        "encode_seconds": seconds,
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embeddings", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--backbone", required=True, help="a model folder")
    parser.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--precision", default="32", choices=("32", "bf16"))
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    chosen = parser.parse_args()
    result = run(chosen)
    print(json.dumps(result))
    if chosen.output:
        chosen.output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
