"""Labelling many texts with a finished run, against a `transformers` pipeline with the same weights.

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
from numpy.typing import NDArray

from benchmarks.limit import forward_products, products_per_second
from src.predict import Predictor

SIZES = (1, 8, 32, 64)  # batches that the pipeline may choose from
TRIED = 512  # texts to choose by


def pipeline_labels(folder: Path, texts: Sequence[str]) -> tuple[list[str], float, int]:
    """The labels that the pipeline gives, its seconds, and the batch size that served it best."""
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
    """Texts a second that matrix products alone would allow."""
    predictor = Predictor.load(run, "float32")
    lengths: NDArray[np.int64] = predictor.tokens(texts).lengths
    size = predictor.network.encoder.config
    work = forward_products(lengths, size.num_hidden_layers, size.hidden_size, size.intermediate_size)
    return len(texts) * products_per_second(dtype, size.hidden_size, size.intermediate_size) / work


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV files")
    parser.add_argument("--texts", type=int, default=20_000, help="the training texts, again and again")
    chosen = parser.parse_args()
    with (chosen.data / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    texts = (texts * (chosen.texts // len(texts) + 1))[: chosen.texts]
    with tempfile.TemporaryDirectory() as place:
        run, exported = Path(place, "run"), Path(place, "exported")
        # A head on the pooler is what transformers knows too.
        train = ["model=bert_linear", "model.pooling=pooler", "freeze=all", "trainer.max_epochs=1", f"run={run}"]
        data = ["data=rotten_tomatoes", f"data.path={chosen.data}"]
        subprocess.run([sys.executable, "-m", "src.train", *train, *data], check=True, capture_output=True)
        export = ["-m", "src.export", f"run={run}", f"output={exported}"]
        subprocess.run([sys.executable, *export], check=True, capture_output=True)
        labels, seconds, size = pipeline_labels(exported, texts)
        print("| | texts a second | ratio | products alone | other labels |\n| --- | ---: | ---: | ---: | ---: |")
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
