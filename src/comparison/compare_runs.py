"""Compares the runs in a folder, shows the tables, and writes the comparison beside the runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from src.errors import UserError
from src.runs.write_guard import refuse_links

if TYPE_CHECKING:
    from src.comparison.comparison import Comparison
    from src.config.sections import Cost
    from src.grouping.runs import Run
    from src.race.replay import Race


def compare(
    root: Path,
    metric: str | None,
    baseline: str | None,
    by: str | None,
    margin: float | None,
    mixed: bool,
    cost: Cost | None = None,
) -> Comparison:
    """Prints the comparison of the runs in a folder and writes it there as Markdown, CSV, JSON and an HTML page.

    Raises:
        UserError: the runs cannot be compared.
    """
    from src.comparison import comparison
    from src.comparison.learning_curves import largest_size, learning_curves
    from src.comparison.pages import write_comparison
    from src.comparison.tables import write
    from src.grouping.comparable import check_comparable
    from src.grouping.groups import best_of, group
    from src.grouping.runs import read_lost

    refuse_links([*root.glob("compar*"), *root.glob("plots"), *root.glob("plots/*")], root)
    every, race = _read(root, metric, by)
    runs = [run for run in every if not run.trial] or every
    if not mixed:
        check_comparable(runs)
    largest = largest_size(runs)
    groups = group(largest)
    if by:
        groups = best_of(groups, by)
    found = comparison.compare(groups, metric, baseline, margin, cost, race)
    if smaller := [run for run in runs if run not in largest]:
        curves = learning_curves(runs, [row.name for row in found.rows], found.metric)
        found = comparison.with_learning(found, curves, group(smaller))
    if failed := [run for run in every if run not in runs and run.result is None]:
        found = comparison.with_problems(found, group(failed))
    found = comparison.with_lost(found, read_lost(root))
    console = Console(width=200 if not sys.stdout.isatty() else None)
    _show(found, console)
    for file in [*write(found, root), write_comparison(found, groups, root)]:
        console.print(f"Written: {file}", soft_wrap=True, markup=False)
    return found


def _read(root: Path, metric: str | None, by: str | None) -> tuple[list[Run], Race | None]:
    """Returns the runs in a folder, and the race that they were made for, if there is one.

    Raises:
        UserError: they cannot be read, or groups of a race are to be chosen among once more.
    """
    from src.grouping.runs import read_runs, unless_undefined
    from src.race.record import read_race

    runs, race = read_runs(root), read_race(root)
    if race is None:
        return runs, None
    if by:
        raise UserError(
            f"by must be null for the runs of a race, which has chosen among all groups; got {by}.\nLeave it out."
        )
    # Its arms went on without runs that do not define its score. A repeat does not without one of its folds.
    deciding = metric or race.rules.metric
    return [run if run.folds > 1 else unless_undefined(run, deciding, "validation", "test") for run in runs], race


def _show(found: Comparison, console: Console) -> None:
    from src.comparison.tables import problem_line, tables

    for cells in tables(found):
        cells.show(console)
    for problem in found.problems:
        console.print(problem_line(problem), markup=False)
    console.print(found.sentence, markup=False)
