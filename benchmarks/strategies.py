"""Every freezing strategy on the same data and seeds, each trained until it no longer improves: trainable parameters,
epochs, FLOPs, accuracy.

    python -m benchmarks.strategies --data ../shared/data/rotten_tomatoes --seeds 1 2 3

Each run is a `python -m src.train` process on its own core; `--at-once` of them run in parallel (with small batches,
one thread each is faster than many threads one after the other). Finished runs in --runs are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from src.freezing.strategy import percent

# Each trains as an arm of a race does (docs/racing.md): until validation stops improving, within 10 epochs, and 50 for
# heads alone. Methods with few parameters need the higher learning rates of their papers.
FEW = "optimizer.lr=5e-4"
HEAD = ["freeze=all", "trainer.max_epochs=50"]
STRATEGIES = {
    "all": HEAD,
    "all, BiLSTM": [*HEAD, "model=bert_bilstm"],
    "mix": ["freeze=mix", "trainer.max_epochs=50"],
    "bottom:4": ["freeze=bottom", "freeze.layers=4"],
    "gradual:fit": ["freeze=gradual", "freeze.every=null"],
    "lp_ft:fit": ["freeze=lp_ft", "freeze.epochs=null"],
    "surgical:0-2": ["freeze=surgical"],
    "embeddings": ["freeze=embeddings"],
    "none": ["freeze=none"],
    "none+reinit:1": ["freeze=reinit_top"],
    "lora:8": ["freeze=lora", FEW],
    "bitfit": ["freeze=bitfit", FEW],
    "norms": ["freeze=norms", FEW],
}


def train(name: str, seed: int, chosen: argparse.Namespace, cores: queue.Queue[int]) -> None:
    """Trains one run, unless it has finished before."""
    folder = place(name, seed, chosen.runs)
    if (folder / "result.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "src.train", "data=rotten_tomatoes", f"data.path={chosen.data.resolve()}"]
    common = ["model=bert_linear", "trainer.precision=bf16-mixed", f"seed={seed}"]
    core = cores.get()
    try:
        ended = subprocess.run(
            [*command, *common, *STRATEGIES[name], f"run={folder}"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        cores.put(core)
    if ended.returncode:
        sys.exit(f"{name}, seed {seed} failed:\n{ended.stderr[-2000:]}")
    result = json.loads((folder / "result.json").read_text())
    accuracy, seconds = result["metrics"]["test"]["accuracy"], result["seconds"]["total"]
    print(f"{name:20} seed {seed}  {seconds:6.0f} s  accuracy {accuracy:.3f}", flush=True)


def place(name: str, seed: int, runs: Path) -> Path:
    return runs / f"{name.translate(str.maketrans(':,+ ', '----'))}-{seed}"


def table(chosen: argparse.Namespace) -> str:
    """Returns a Markdown table, the best first: trainable parameters, epochs, FLOPs and accuracy; at its end what the
    most frequent label alone reaches."""
    columns = ("strategy", "trainable parameters", "best epoch", "TFLOP", "test accuracy, mean ± sd", "seeds")
    lines = [f"| {' | '.join(columns)} |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    results = {name: found for name in chosen.strategies if (found := results_of(name, chosen))}
    for name in sorted(results, key=lambda name: accuracy(results[name]), reverse=True):
        lines.append(row(name, results[name]))
    majority = next(iter(results.values()))[0]["majority"]["accuracy"]
    return "\n".join([*lines, f"| the most frequent label | | | | {majority:.3f} | |"])


def results_of(name: str, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    files = [place(name, seed, chosen.runs) / "result.json" for seed in chosen.seeds]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def accuracy(results: Sequence[dict[str, Any]]) -> float:
    return statistics.mean(r["metrics"]["test"]["accuracy"] for r in results)


def row(name: str, results: Sequence[dict[str, Any]]) -> str:
    accuracies = [r["metrics"]["test"]["accuracy"] for r in results]
    spread = f" ± {statistics.stdev(accuracies):.3f}" if len(results) > 1 else ""
    parameters = results[0]["parameters"]
    trainable = f"{parameters['trainable']:,} ({percent(parameters['trainable'] / parameters['total'])})"
    best = statistics.mean(r["best"]["epoch"] for r in results)
    epochs = f"{best:.0f} of {statistics.mean(len(r['history']) for r in results):.0f}"
    work = statistics.mean(r["operations"] for r in results) / 1e12
    return f"| `{name}` | {trainable} | {epochs} | {work:,.0f} | {accuracy(results):.3f}{spread} | {len(results)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.strategies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--at-once", type=int, default=len(os.sched_getaffinity(0)), help="number of runs in parallel")
    parser.add_argument("--runs", type=Path, default=Path("outputs/benchmarks/strategies"))
    chosen = parser.parse_args()
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0))[: chosen.at_once]:
        cores.put(core)
    with ThreadPoolExecutor(chosen.at_once) as pool:
        jobs = [
            pool.submit(train, name, seed, chosen, cores)
            for seed, name in itertools.product(chosen.seeds, chosen.strategies)
        ]
        for job in jobs:
            job.result()
    print(table(chosen))


if __name__ == "__main__":
    main()
