"""The tables that a training logs: its stages, and the audit of a phase."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from src.callbacks.audit import count, mode
from src.freezing.strategy import Stage, percent
from src.freezing.words import trains
from src.modules.freezable import FreezableModule


def audit_table(rows: list[dict[str, Any]]) -> str:
    """The rows of an audit as text: what trained and changed, and what stayed bit for bit."""
    table = Table("stage", box=None, pad_edge=False)
    for column in ("in optimizer", "got gradient"):
        table.add_column(column, justify="right")
    table.add_column("mode")
    for column in ("checksum before", "after", ""):
        table.add_column(column)
    for row in rows:
        counts = [f"{row['in_optimizer']:,}", f"{row['got_gradient']:,}", row["mode"]]
        change = "changed" if row["before"] != row["after"] else "unchanged"
        table.add_row(row["stage"], *counts, row["before"], row["after"], change)
    return as_text(table)


def stage_table(module: FreezableModule) -> str:
    """The table of stages as text, with the totals in the last row, and which stages train in words."""
    table = Table("stage", box=None, pad_edge=False)
    for column in ("parameters", "trainable"):
        table.add_column(column, justify="right")
    table.add_column("mode")
    total = trainable = 0
    fractions: dict[str, float] = {}
    for stage in module.stages:
        size, training = stage_counts(module, stage)
        table.add_row(stage.name, f"{size:,}", f"{training:,}", mode(module, stage))
        total, trainable = total + size, trainable + training
        fractions[stage.name] = training / size if size else 0.0
    table.add_row("total", f"{total:,}", f"{trainable:,}", f"{percent(trainable / total)} trains")
    return f"{as_text(table)}\nTrains {trains(fractions)}"


def as_text(table: Table) -> str:
    """A table as the log and TensorBoard show it."""
    console = Console(width=120, color_system=None, force_jupyter=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def stage_counts(module: FreezableModule, stage: Stage) -> tuple[int, int]:
    """How many parameters a stage has, and how many of them train in this phase."""
    trainable = module.phases[module.phase].trainable
    return count(module, stage.parameters), count(module, trainable & set(stage.parameters))
