"""Reads what the runs of a race have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from src.comparison.comparison import cost_of
from src.comparison.decision import Cost
from src.comparison.evidence import gather
from src.grouping.groups import Group, group
from src.grouping.runs import Run, read_runs
from src.race.recorded import Ran, Recorded
from src.runs.identity import config_hash
from src.statistics.crossed import by_unit

Scores = Mapping[Path, Float[NDArray[np.float64], " units"]]


def recorded(arms: Sequence[Sequence[str]], metric: str, cost: Cost, root: Path) -> Recorded:
    """Returns the validation scores, costs and times of the runs of a race.

    Args:
        arms: the hashes of the configs of each arm, one per block.
        metric: the validation score that decides; higher is better.
        cost: what makes an arm cheaper.
        root: the folder of the runs.

    Raises:
        UserError: there are no runs, or what they have left cannot be read.
    """
    runs = {config_hash(run.folder.saved_config()): run for run in read_runs(root)}
    known = {identity for arm in arms for identity in arm}
    groups = group([run for identity, run in runs.items() if identity in known], mixed=True)
    scores = _scores(groups, metric)
    found = {
        _name(arm, runs, groups): {
            block: Ran(scores[run.folder.path], cost_of([run], cost), float(run.result["seconds"]["total"]), _end(run))
            for block, identity in enumerate(arm)
            if (run := runs.get(identity)) and run.result
        }
        for arm in arms
    }
    return Recorded(found, max(run.folds for one in groups for run in one.runs))


def _name(arm: Sequence[str], runs: Mapping[str, Run], groups: Sequence[Group]) -> str:
    """Returns the name of an arm, as the comparison calls it; a hash if a launcher has lost its job without a trace."""
    own = [runs[identity] for identity in arm if identity in runs]
    return next((one.name for one in groups if own and own[0] in one.runs), arm[0])


def _scores(groups: Sequence[Group], metric: str) -> Scores:
    """Returns the scores of each run: of its units, or where they are not known or do not matter, of the run."""
    finished = [one for one in groups if one.finished]
    if not finished:
        return {}
    found = {
        run.folder.path: np.array([float(run.result["metrics"]["validation"][metric])])
        for one in finished
        for run in one.finished
        if run.result
    }
    if any(run.folds > 1 for one in finished for run in one.runs):
        return found
    evidence = gather(finished, metric, "validation")
    for one in finished:
        for block, (run,) in one.blocks.items():
            if (values := evidence.scores[one.name].get(block)) is not None and evidence.units is not None:
                found[run.folder.path] = by_unit(values[None, :], evidence.units)[0]
    return found


def _end(run: Run) -> float:
    return (run.folder.path / "result.json").stat().st_mtime
