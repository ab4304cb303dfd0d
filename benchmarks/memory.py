"""Peak memory of a run that reads an existing activation store, by the number of texts.

    python -m benchmarks.memory --data ../shared/data/rotten_tomatoes

The texts are the training texts, repeated with a number prepended; a run before the measured one builds the store.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def write(source: Path, folder: Path, count: int) -> None:
    folder.mkdir()
    for split in ("validation", "test"):
        shutil.copy(source / f"{split}.csv", folder)
    with (source / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for number in range(count):
            row = rows[number % len(rows)]
            writer.writerow({**row, "text": f"{number} {row['text']}"})


def run(data: Path, cache: Path, folder: Path) -> dict[str, Any]:
    options = ["data=rotten_tomatoes", f"data.path={data}", f"cache={cache}", f"run={folder}"]
    training = ["freeze=all", "trainer.precision=bf16-mixed", "trainer.max_epochs=1", "callbacks.progress=null"]
    subprocess.run([sys.executable, "-m", "src.train", *options, *training], check=True, stdout=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--texts", nargs="+", type=int, default=[10_000, 100_000])
    chosen = parser.parse_args()
    print("| training texts | store | peak memory |\n| ---: | ---: | ---: |")
    for count in chosen.texts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write(chosen.data, folder / "data", count)
            run(folder / "data", folder / "cache", folder / "first")
            result = run(folder / "data", folder / "cache", folder / "second")
            store, peak = result["phases"][0]["activations"]["bytes"], result["peak_memory_bytes"]
            print(f"| {count:,} | {store / 1e6:,.0f} MB | {peak / 1e6:,.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
