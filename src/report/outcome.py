"""The results of a run that depend on its objective, for the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcome:
    """The results of a run.

    Args:
        metrics: validation and test scores.
        details: further keys of result.json.
        report: a file name and its text, to which a title is added.
        figures: functions that draw figures besides the curves, by file name.
        headline: the most important scores, as the start of a sentence.
        summary: the part of the report for the terminal; None: all of it.
        tables: further text files, by file name.
        precision_recall: by label, targets (0 or 1) and probabilities of the test texts.
        errors: the wrongly labelled test texts with the highest loss, by column.
        curve: the metric of the first panel of the curves, and its baseline.
    """

    metrics: dict[str, dict[str, float]]
    details: dict[str, Any]
    report: tuple[str, str]
    figures: dict[str, Callable[[], Figure]]
    headline: str
    summary: str | None = None
    tables: dict[str, str] = field(default_factory=dict)
    precision_recall: dict[str, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)
    errors: list[dict[str, str]] = field(default_factory=list)
    curve: tuple[str, float | None] = ("loss", None)
