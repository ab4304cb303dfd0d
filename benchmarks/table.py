"""Trains strategies on several data sets and sizes, and adds a row per run to a table.

    python -m benchmarks.table --data ../shared/data [--sizes 300 1000] [--heads linear]

DIR holds a folder per data set. Rows that the table has are not trained again, so it can be stopped at any time and
grows with each call.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from src.config.folder import CONF
from src.runs.folder import RunFolder
from src.train import train

DATA = {
    "rotten_tomatoes": ["data=table", "data.max_length=64"],
    "trec": ["data=table", "data.max_length=64"],
    "subj": ["data=table", "data.max_length=64"],
    "tweet_emotion": ["data=table", "data.max_length=64"],
    "tweet_irony": ["data=table", "data.max_length=64"],
    "goemotions_ekman": ["data=table", "data.max_length=64", "data.label=labels"],
    "reviews": ["data=reviews", "data.test_fraction=0.3", "data.validation_fraction=0.15"],
    "aspects": ["data=reviews_aspects", "data.test_fraction=0.3", "data.validation_fraction=0.15"],
}
EVALUATED = 1000  # texts of validation and test, at most
EPOCHS = {300: 10, 1000: 5, 4000: 3}  # where layers train
FROZEN = ["trainer.max_epochs=50"]  # a head on stored vectors: epochs cost next to nothing
STRATEGIES = {
    "all": ["freeze=all", *FROZEN],
    "cut:4": ["freeze=cut", "freeze.layers=4", *FROZEN],
    "none": ["freeze=none"],
    "bottom:4": ["freeze=bottom", "freeze.layers=4"],
    "bottom:2": ["freeze=bottom", "freeze.layers=2"],
    "lora:8": ["freeze=lora", "optimizer.lr=5e-4"],
    "lp_ft:2": ["freeze=lp_ft", "freeze.epochs=2"],
    "mix": ["freeze=mix", *FROZEN],
    "gradual:1x2": ["freeze=gradual", "freeze.stages_per_phase=2"],
}
HEADS = {"linear": "bert_linear", "bilstm": "bert_bilstm"}
KEYS = ("data", "texts", "head", "strategy", "seed")
FIELDS = (*KEYS, "accuracy", "f1_macro", "seconds", "epochs", "steps", "improving")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="holds a folder per data set")
    parser.add_argument("--sets", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--table", type=Path, default=Path("benchmarks/results/table.csv"))
    parser.add_argument("--runs", type=Path, default=Path("outputs/benchmarks/table"))
    chosen = parser.parse_args()
    logging.getLogger("src").setLevel(logging.ERROR)
    for size, head, seed, name, strategy in itertools.product(
        chosen.sizes, chosen.heads, chosen.seeds, chosen.sets, chosen.strategies
    ):
        key = (name, str(size), head, strategy, str(seed))
        if key not in known(chosen.table, KEYS) and has(name, size):
            row = run(key, chosen.data, chosen.runs)
            add(chosen.table, FIELDS, row)
            print(*row.values(), flush=True)


def run(key: tuple[str, ...], data: Path, runs: Path) -> dict[str, Any]:
    """Trains one run.

    Args:
        key: data, texts, head, strategy, seed.
        data: holds a folder per data set.
        runs: holds the run's folder while it trains.
    """
    folder = RunFolder(runs / "-".join(key).replace(":", "_"))
    shutil.rmtree(folder.path, ignore_errors=True)
    begin = time.perf_counter()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*overrides(key, data), f"run={folder.path}", f"cache={runs / 'cache'}"])
    result = train(cfg, folder)
    shutil.rmtree(folder.path)
    scores, ended = result["metrics"]["test"], result.get("convergence", {})
    values = {"accuracy": scores["accuracy"], "f1_macro": scores["f1_macro"]}
    measured = {name: round(value, 5) for name, value in values.items()}
    measured |= {"seconds": round(time.perf_counter() - begin, 1), "epochs": len(result["history"])}
    return dict(zip(KEYS, key, strict=True)) | measured | {k: ended.get(k) for k in ("steps", "improving")}


def overrides(key: Sequence[str], data: Path) -> list[str]:
    """Returns the arguments of a run of `src.train`."""
    name, texts, head, strategy, seed = key
    where = [f"data.path={(data / name).resolve()}"] if (data / name).exists() else []
    return [
        *DATA[name],
        *where,
        f"data.train_size={texts}",
        f"data.limit={max(int(texts), EVALUATED)}",
        f"trainer.max_epochs={EPOCHS[int(texts)]}",
        *STRATEGIES[strategy],
        f"model={HEADS[head]}",
        f"seed={seed}",
        "data.batch_size=16",
        "trainer.precision=bf16-mixed",
        "trainer.enable_progress_bar=false",
        "logger=csv",
    ]


def has(name: str, size: int) -> bool:
    """Returns whether the data set has so many training texts."""
    most = {"reviews": 500, "aspects": 500, "tweet_emotion": 3257, "tweet_irony": 2862}
    return size <= most.get(name, 4907)


def known(table: Path, keys: Sequence[str]) -> set[tuple[str, ...]]:
    """Returns the keys of the rows of a table; none if there is no such file."""
    if not table.exists():
        return set()
    with table.open(newline="") as file:
        return {tuple(row[key] for key in keys) for row in csv.DictReader(file)}


def add(table: Path, fields: Sequence[str], row: Mapping[str, Any]) -> None:
    """Adds a row to a table; a new one begins with the names of its fields."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
