"""Comparing finished runs from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.comparison.comparison import Comparison
    from src.config.sections import Cost


def compare(
    runs: Path | str,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    by: str | None = None,
    margin: float | None = None,
    cost: Cost | None = None,
    mixed: bool = False,
) -> Comparison:
    """Compares the runs in a folder, prints the tables and the answer, and writes them and the page there.

    Args:
        runs: the folder.
        metric: the test score that is compared; None: accuracy, or of numbers pearson.
        baseline: a strategy, such as none or bottom:4; None: none, if present.
        by: a column; of each of its values, only the group with the best validation score is compared.
        margin: which loss of the score is acceptable; None: 0.01, of errors a hundredth of the targets' spread.
        cost: what is cheap: time, memory, parameters or inference; None: time, or what a race has chosen by.
        mixed: compare also runs on different data.

    Raises:
        UserError: an argument is none of these, or the runs cannot be compared.
    """
    from src.comparison.compare_runs import compare as compare_runs
    from src.comparison.options import Options
    from src.config.validation import check_values
    from src.files.paths import user_path

    given = {"metric": metric, "baseline": baseline, "by": by, "margin": margin, "cost": cost, "mixed": mixed}
    wanted = check_values({"runs": str(runs), **given}, Options)
    root = user_path(wanted.runs)
    return compare_runs(root, wanted.metric, wanted.baseline, wanted.by, wanted.margin, wanted.mixed, wanted.cost)
