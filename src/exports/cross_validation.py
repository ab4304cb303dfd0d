"""The scores of a run's settings in a cross-validation, for the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.comparison.evidence import gather
from src.comparison.rows import METRICS, interval, mean_scores
from src.errors import UserError, listed
from src.grouping.groups import Group, group
from src.grouping.runs import Run, read_run, read_runs
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.statistics.intervals import Interval

# Keys in which a final model may differ from the runs of its cross-validation; the second has no effect with folds.
FREE = ("data.folds", "data.test_fraction")


@dataclass(frozen=True)
class CrossValidation:
    """A cross-validation of the settings of a run.

    Args:
        folds: into which the texts were divided.
        repeats: of the division, without those of which a fold is missing.
        runs: of all these folds.
        texts: that a run was trained on, on average.
        scores: mean test scores, each with its interval; None where there is no spread to estimate it from.
    """

    folds: int
    repeats: int
    runs: int
    texts: int
    scores: dict[str, tuple[float, Interval | None]]


def cross_validation(folder: RunFolder, root: Path) -> CrossValidation:
    """Returns the cross-validation of a run's settings, apart from folds, repeats and seeds.

    Args:
        folder: of the run.
        root: a folder with the runs of the cross-validation.

    Raises:
        UserError: it has no such runs, or of no repeat all folds.
    """
    found = _group(read_run(folder), root)
    results = [run.result for run in found.complete if run.result]
    scores = mean_scores(found, METRICS[0])
    return CrossValidation(
        folds=found.runs[0].folds,
        repeats=len({block.repeat for block in found.blocks}),
        runs=len(results),
        texts=round(sum(result["texts"]["train"] for result in results) / len(results)),
        scores={name: (score, interval(found, gather([found], name), name)) for name, score in scores.items()},
    )


def _group(run: Run, root: Path) -> Group:
    runs = read_runs(root) if runs_in(root) else []
    folds = [other for other in runs if other.folds > 1]
    same = [other for other in folds if not _differences(run, other)]
    groups = group(same) if same else []
    whole = [member for member in groups if member.blocks]
    if len(whole) == 1:
        return whole[0]
    if not folds:
        problem = f"none of the {len(runs)} runs in {root} has data.folds" if runs else f"{root} has no runs"
    elif not same:
        nearest = min((_differences(run, other) for other in folds), key=len)
        problem = f"the most similar runs in {root} differ in {listed(nearest)}"
    elif whole:
        problem = f"{root} has several, with {' and '.join(str(member.runs[0].folds) for member in whole)} folds"
    else:
        problem = f"no repeat in {root} has all of its folds"
    raise UserError(
        f"evidence must be a folder with a cross-validation of the settings of {run.folder.path}; {problem}.\n"
        "Give the folder of a multirun with the same settings and data.folds: evidence=outputs/sweeps/NAME."
    )


def _differences(one: Run, other: Run) -> Sequence[str]:
    """Returns the settings in which two runs differ; a key without a value is as good as none."""
    keys = sorted({*one.values, *other.values} - {*FREE})
    return [key for key in keys if one.values.get(key, "null") != other.values.get(key, "null")]
