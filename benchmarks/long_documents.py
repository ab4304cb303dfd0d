"""Long documents in which one sentence decides: what truncation loses and windows find.

    python -m benchmarks.long_documents --data ../shared/data               # 30 neutral sentences, in all documents
    python -m benchmarks.long_documents --data ../shared/data --neutral 0   # others in each document

A document is a review of Rotten Tomatoes at a random place among neutral sentences, the objective ones of Subj, with
the label of the review. It has some 260 tokens, and the encoder reads 64 at once: a linear head on the frozen MiniLM,
once for each way of reading, and on the reviews alone, which is the best that can be reached.
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from src.config.folder import CONF
from src.runs.folder import RunFolder
from src.train import train

LENGTH = 64  # tokens


WINDOWS = ["data.windows=true", f"data.stride={LENGTH // 4}"]


READINGS: dict[str, list[str]] = {
    "head": [],
    "tail": ["data.truncation=tail"],
    "head_tail": ["data.truncation=head_tail"],
    "windows, mean": [*WINDOWS, "model.windows=mean"],
    "windows, max": [*WINDOWS, "model.windows=max"],
    "windows, attention": [*WINDOWS, "model.windows=attention"],
}


ALONE = "the review alone"


def main() -> None:
    """Makes the documents, trains all runs and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds rotten_tomatoes and subj")
    parser.add_argument("--texts", nargs=3, type=int, default=[800, 200, 600], help="train, validation, test")
    parser.add_argument("--sentences", type=int, default=10, help="neutral ones in a document")
    parser.add_argument("--neutral", type=int, default=30, help="different neutral ones; 0: all, others in each split")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=Path("outputs/benchmarks/long_documents"))
    chosen = parser.parse_args()
    logging.getLogger("src").setLevel(logging.ERROR)
    for kind, sentences in (("documents", chosen.sentences), ("alone", 0)):
        write(chosen.data, chosen.folder / kind, chosen.texts, sentences, chosen.neutral)
    print("| what is read | test accuracy | seconds to encode |\n| --- | ---: | ---: |")
    for name in (*READINGS, ALONE):
        found = [run(name, seed, chosen.folder, chosen.epochs) for seed in chosen.seeds]
        accuracies = [result["metrics"]["test"]["accuracy"] for result in found]
        spread = f" ± {statistics.stdev(accuracies):.3f}" if len(found) > 1 else ""
        encoding = max(result["seconds"]["encode"] for result in found)
        print(f"| {name} | {statistics.mean(accuracies):.3f}{spread} | {encoding:.0f} |", flush=True)


def write(data: Path, folder: Path, texts: Sequence[int], sentences: int, different: int) -> None:
    """Writes documents as train, validation and test files.

    Args:
        data: holds rotten_tomatoes and subj.
        folder: for the files.
        texts: how many documents, by split.
        sentences: neutral ones in a document.
        different: how many neutral ones there are, the same for all splits; 0: all, others in each split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for split, count in zip(("train", "validation", "test"), texts, strict=True):
        reviews = [*rows(data / "rotten_tomatoes" / f"{split}.csv")]
        source = rows(data / "subj" / f"{'train' if different else split}.csv")
        neutral = [row["text"] for row in source if row["label"] == "objective"][: different or None]
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for index in random.permutation(len(reviews))[:count]:
                document = [neutral[i] for i in random.choice(len(neutral), sentences, replace=False)]
                document.insert(int(random.integers(sentences + 1)), reviews[index]["text"])
                writer.writerow([" ".join(document), reviews[index]["label"]])


def rows(file: Path) -> Iterator[Mapping[str, str]]:
    """Yields the rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as opened:
        yield from csv.DictReader(opened)


def overrides(name: str, seed: int, folder: Path, epochs: int) -> list[str]:
    """Returns the arguments of a run of `src.train`.

    Args:
        name: what is read.
        seed: of the run.
        folder: with the documents.
        epochs: that are trained; the best one by validation loss is tested.
    """
    return [
        "data=table",
        f"data.path={(folder / ('alone' if name == ALONE else 'documents')).resolve()}",
        f"data.max_length={LENGTH}",
        *READINGS.get(name, []),
        *("model=bert_linear", "freeze=all", "optimizer.head_lr=0.01", f"seed={seed}"),
        *(f"trainer.max_epochs={epochs}", "callbacks=no_early_stopping", "trainer.enable_progress_bar=false"),
        *("trainer.precision=bf16-mixed", "logger=csv", f"cache={folder / 'cache'}"),
    ]


def run(name: str, seed: int, folder: Path, epochs: int) -> dict[str, Any]:
    """Trains one run and returns its result."""
    target = RunFolder(folder / "runs" / f"{time.time_ns()}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*overrides(name, seed, folder, epochs), f"run={target.path}"])
    result = train(cfg, target)
    shutil.rmtree(target.path)
    return result


if __name__ == "__main__":
    main()
