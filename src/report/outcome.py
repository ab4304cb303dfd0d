"""What the report of a run needs to know of its objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcome:
    """How a run came out.

    Args:
        metrics: scores of validation and test.
        details: what else result.json says.
        report: a file name, and its text, which gets a title.
        figures: besides the curves, by the name of their file; each is drawn when it is asked for.
        headline: the most important scores, as the beginning of a sentence.
        summary: what the terminal shows of the report; None: all.
        tables: other texts beside the report, by the name of their file.
        precision_recall: of labels, 0 and 1 for the test texts that have it, and its probabilities.
        errors: the test texts that were labelled most wrongly, by column.
        curve: what the first panel of the curves shows, and a value that it is to be compared with.
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
