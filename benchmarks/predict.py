"""Labelling many texts with a finished run, compared with a `transformers` pipeline with the same weights.

python -m benchmarks.predict --data ../shared/data/rotten_tomatoes
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.limit import forward_flops, matmul_flops_per_second
from src.arrays import NDArray
from src.predict import Predictor

SIZES = (1, 8, 32, 64)  # batch sizes to try for the pipeline
TRIED = 512  # texts per tried batch size


def pipeline_labels(folder: Path, texts: Sequence[str]) -> tuple[list[str], float, int]:
    """Returns the labels of the pipeline, its seconds, and its fastest batch size."""
    from transformers import pipeline

    classify = pipeline("text-classification", str(folder), truncation=True)
    seconds: dict[int, float] = {}
    for size in SIZES:
        begin = time.perf_counter()
        classify(list(texts[:TRIED]), batch_size=size)
        seconds[size] = time.perf_counter() - begin
    best = min(seconds, key=seconds.__getitem__)
    begin = time.perf_counter()
    labels = [str(found["label"]) for found in classify(list(texts), batch_size=best)]
    return labels, time.perf_counter() - begin, best


def own_labels(run: Path, precision: str, texts: Sequence[str]) -> tuple[list[str], float]:
    predictor = Predictor.load(run, precision)
    predictor.probabilities(texts[:TRIED])
    begin = time.perf_counter()
    labels = [names[0] for names in predictor.decide(predictor.probabilities(texts))]
    return labels, time.perf_counter() - begin


def limit(run: Path, texts: Sequence[str], dtype: torch.dtype) -> float:
    """Returns the texts per second if only matrix products took time."""
    predictor = Predictor.load(run, "float32")
    lengths: NDArray[np.int64] = predictor.tokens(texts).lengths
    size = predictor.network.encoder.config
    flops = forward_flops(lengths, size.num_hidden_layers, size.hidden_size, size.intermediate_size)
    return len(texts) * matmul_flops_per_second(dtype, size.hidden_size, size.intermediate_size) / flops


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV files")
    parser.add_argument("--texts", type=int, default=20_000, help="number of texts; the training texts are repeated")
    chosen = parser.parse_args()
    with (chosen.data / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    texts = (texts * (chosen.texts // len(texts) + 1))[: chosen.texts]
    with tempfile.TemporaryDirectory() as folder:
        run, exported = Path(folder, "run"), Path(folder, "exported")
        # transformers has the same head on the pooler.
        train = ["model=bert_linear", "model.pooling=pooler", "freeze=all", "trainer.max_epochs=1", f"run={run}"]
        data = ["data=rotten_tomatoes", f"data.path={chosen.data}"]
        subprocess.run([sys.executable, "-m", "src.train", *train, *data], check=True, capture_output=True)
        export = ["-m", "src.export", f"run={run}", f"output={exported}"]
        subprocess.run([sys.executable, *export], check=True, capture_output=True)
        labels, seconds, size = pipeline_labels(exported, texts)
        print("| | texts per second | ratio | matrix products alone | different predictions |")
        print("| --- | ---: | ---: | ---: | ---: |")
        print(f"| pipeline, float32, batches of {size} | {len(texts) / seconds:,.0f} | | | |")
        for precision, dtype in {"float32": torch.float32, "bf16": torch.bfloat16}.items():
            own, own_seconds = own_labels(run, precision, texts)
            differ = sum(mine != theirs for mine, theirs in zip(own, labels, strict=True))
            print(
                f"| Thaw, {precision} | {len(texts) / own_seconds:,.0f} | {seconds / own_seconds:.1f} | "
                f"{limit(run, texts, dtype):,.0f} | {differ} of {len(texts):,} |"
            )


if __name__ == "__main__":
    main()
