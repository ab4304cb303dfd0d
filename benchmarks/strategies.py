"""Every freezing strategy on the same data and seeds: trainable parameters, accuracy, time.

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Epochs: full fine-tuning is best after two epochs on this data; heads on frozen states need ten.
# Methods with few parameters need the higher learning rates of their papers.
STRATEGIES = {
    "all": ["freeze=all", "trainer.max_epochs=10"],
    "all, BiLSTM": ["freeze=all", "model=bert_bilstm", "trainer.max_epochs=10"],
    "mix": ["freeze=mix", "trainer.max_epochs=10"],
    "bottom:4": ["freeze=bottom", "freeze.layers=4", "trainer.max_epochs=2"],
    "gradual:1x2": ["freeze=gradual", "freeze.stages_per_phase=2", "trainer.max_epochs=5"],
    "lp_ft:3": ["freeze=lp_ft", "freeze.epochs=3", "trainer.max_epochs=5"],
    "surgical:0-2": ["freeze=surgical", "trainer.max_epochs=2"],
    "embeddings": ["freeze=embeddings", "trainer.max_epochs=2"],
    "none": ["freeze=none", "trainer.max_epochs=2"],
    "none+reinit:1": ["freeze=reinit_top", "trainer.max_epochs=2"],
    "lora:8": ["freeze=lora", "optimizer.lr=5e-4", "trainer.max_epochs=2"],
    "bitfit": ["freeze=bitfit", "optimizer.lr=5e-4", "trainer.max_epochs=2"],
    "norms": ["freeze=norms", "optimizer.lr=5e-4", "trainer.max_epochs=2"],
}


def train(name: str, seed: int, chosen: argparse.Namespace, cores: queue.Queue[int]) -> None:
    """Trains one run, unless it has finished before."""
    folder = place(name, seed, chosen.runs)
    if (folder / "result.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "src.train", "data=rotten_tomatoes", f"data.path={chosen.data.resolve()}"]
    common = ["model=bert_linear", "trainer.precision=bf16-mixed", "callbacks=no_early_stopping", f"seed={seed}"]
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
    """Returns a Markdown table, the best first: trainable parameters, accuracy, and the minimum wall time."""
    rows = []
    for name in chosen.strategies:
        files = [place(name, seed, chosen.runs) / "result.json" for seed in chosen.seeds]
        found = [json.loads(file.read_text()) for file in files if file.exists()]
        if not found:
            continue
        accuracies = [r["metrics"]["test"]["accuracy"] for r in found]
        spread = f"± {statistics.stdev(accuracies):.3f}" if len(found) > 1 else ""
        parameters, epochs = found[0]["parameters"], len(found[0]["history"])
        trainable = f"{parameters['trainable']:,} ({parameters['trainable'] / parameters['total']:.2%})"
        seconds = min(r["seconds"]["total"] for r in found)
        mean = statistics.mean(accuracies)
        rows.append(
            (mean, f"| `{name}` | {trainable} | {epochs} | {mean:.3f} {spread} | {seconds:,.0f} s | {len(found)} |")
        )
    head = "| strategy | trainable parameters | epochs | test accuracy, mean ± sd | time | seeds |"
    return "\n".join([head, "| --- | ---: | ---: | ---: | ---: | ---: |", *(row for _, row in sorted(rows)[::-1])])


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
