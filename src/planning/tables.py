"""What a plan shows, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from src.config.wording import brief_duration, counted
from src.freezing.strategy import Phase, percent

if TYPE_CHECKING:
    from src.caching.costs import Cost
    from src.modules.freezable import FreezableModule
    from src.planning.totals import Total


def stages(module: FreezableModule, trained: Sequence[Sequence[int]]) -> Table:
    """Returns a table of stages by phases: how much of each stage trains."""
    from src.callbacks.audit import count

    sizes = [count(module, stage.parameters) for stage in module.stages]
    shown = aligned("trains in phase", "parameters", *(str(number + 1) for number in range(len(trained))))
    for stage, size, *counts in zip(module.stages, sizes, *trained, strict=True):
        shown.add_row(stage.name, f"{size:,}", *(_fraction(found, size) for found in counts))
    shown.add_row("total", f"{sum(sizes):,}", *(_fraction(sum(counts), sum(sizes)) for counts in trained))
    return shown


def _fraction(found: int, size: int) -> str:
    return "all" if found == size else percent(found / size) if found else "-"


def phase_costs(phases: Sequence[Phase], begun: int, trained: Sequence[Sequence[int]], costs: Sequence[Cost]) -> Table:
    """Returns a table of phases: how long each lasts, and what an epoch of it costs."""
    times = ("time", "encoding time") if costs[0].seconds is not None else ()
    shown = aligned("phase", "lasts", "trainable", "forward", "backward", "encoding", "memory", *times)
    for number, (phase, counts, cost) in enumerate(zip(phases, trained, costs, strict=True), 1):
        lasts = _length(phase) if number < begun else "to the end" if number == begun else "not reached"
        work = [f"{flops / 1e12:.3g}" for flops in (cost.forward, cost.backward, cost.encoding)]
        seconds = [f"{time or 0:.1f}" for time in (cost.seconds, cost.encoding_seconds)][: len(times)]
        shown.add_row(str(number), lasts, f"{sum(counts):,}", *work, f"{cost.memory / 1e6:,.0f}", *seconds)
    return shown


def sweep_costs(rows: Sequence[tuple[str, int, Total]]) -> Table:
    """Returns a table of combinations: how many runs each has, and what they cost at most, without encoding."""
    timed = all(cost.training.seconds is not None for *_, cost in rows)
    shown = aligned("runs of", "runs", "TFLOP a run", *(("time a run", "time of all") if timed else ()))
    for name, runs, cost in rows:
        times = [brief_duration(count * (cost.training.seconds or 0.0)) for count in (1, runs) if timed]
        shown.add_row(name, str(runs), f"{cost.training.flops / 1e12:.3g}", *times)
    return shown


def _length(phase: Phase) -> str:
    epochs = phase.end.epochs
    if epochs is None:
        return f"until a plateau of {counted(phase.end.patience, 'validation')}"
    return counted(epochs, "epoch")


def aligned(first: str, *others: str) -> Table:
    """Returns a table without lines, with numbers aligned to the right."""
    shown = Table(first, box=None, pad_edge=False)
    for name in others:
        shown.add_column(name, justify="right")
    return shown
