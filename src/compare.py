"""Compares finished runs: one row a run, side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from src.config import UserError
from src.runs import RunFolder


def comparison(folders: list[RunFolder]) -> Table:
    """Strategy, seed, test scores, what trained and how long it took, one row a run. Runs without a result show."""
    table = Table("run", "strategy", box=None, pad_edge=False)
    for column in ("seed", "test accuracy", "test macro F1", "texts", "trainable", "seconds"):
        table.add_column(column, justify="right")
    for folder in folders:
        try:
            result = folder.read_result()
        except UserError:
            table.add_row(folder.name, "no result")
            continue
        test = result["metrics"]["test"]
        table.add_row(
            folder.name,
            result["strategy"],
            str(result["seed"]),
            f"{test['accuracy']:.3f}",
            f"{test['f1_macro']:.3f}",
            f"{result['texts']['test']:,}",
            f"{result['parameters']['trainable']:,}",
            f"{result['seconds']['total']:.1f}",
        )
    return table


class AfterMultirun(Callback):
    """A Hydra callback: prints the comparison when a multirun has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folders = [RunFolder(p) for p in Path(config.hydra.sweep.dir).iterdir() if p.is_dir()]
        folders.sort(key=lambda f: (len(f.name), f.name))
        print(f"\nRuns in {config.hydra.sweep.dir}")
        Console(width=110 if not sys.stdout.isatty() else None).print(comparison(folders))
