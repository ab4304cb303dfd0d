"""The results of a run that depend on its objective, for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from src.arrays import NDArray


@dataclass(frozen=True)
class Shown:
    """What presents the results of a run.

    Args:
        report: a file name and its text, to which a title is added.
        figures: functions that draw figures besides the curves, by file name.
        summary: the part of the report for the terminal; None: all of it.
        tables: further text files, by file name.
        precision_recall: by label, targets (0 or 1) and probabilities of the test texts.
        errors: the wrongly labelled test texts with the highest loss, by column.
    """

    report: tuple[str, str]
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
    summary: str | None = None
    tables: dict[str, str] = field(default_factory=dict)
    precision_recall: dict[str, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The results of a run.

    Args:
        metrics: validation and test scores.
        details: further keys of result.json.
        headline: the most important scores, as the start of a sentence.
        show: computes what presents the results, after result.json has been written.
        curve: the metric of the first panel of the curves, and its baseline.
        score: that of the second panel.
        notes: lines that follow the report.
    """

    metrics: dict[str, dict[str, float]]
    details: dict[str, Any]
    headline: str
    show: Callable[[], Shown]
    curve: tuple[str, float | None] = ("loss", None)
    score: str = "accuracy"
    notes: Sequence[str] = ()
