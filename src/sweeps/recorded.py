"""Reads what the runs of a race have left."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from src.arrays import NDArray
from src.comparison.comparison import cost_of
from src.comparison.evidence import gather
from src.config.monitor import NOT_COMPARED, sign
from src.config.sections import Cost
from src.errors import UserError, nearest
from src.grouping.groups import Group, group
from src.grouping.runs import Run, read_runs, unless_undefined
from src.race.recorded import Ran, Recorded
from src.runs.identity import config_hash
from src.statistics.crossed import by_unit

Scores = Mapping[Path, Float[NDArray[np.float64], " units"]]


def recorded(arms: Mapping[str, Sequence[str]], metric: str, cost: Cost, root: Path) -> Recorded:
    """Returns the validation scores, costs and times of the runs of a race.

    Args:
        arms: the hashes of the configs of each arm, one per block, by what the arm is called before it has a run.
        metric: the validation score that decides.
        cost: what makes an arm cheaper.
        root: the folder of the runs.

    Raises:
        UserError: there are no runs, what they have left cannot be read, or none of them has such a score.
    """
    runs = _with_score({identity for arm in arms.values() for identity in arm}, metric, root)
    groups = group([*runs.values()])
    scores = _scores(groups, metric)
    found = {
        _name(name, arm, runs, groups): {
            block: _ran(run, scores[run.folder.path], cost)
            for block, identity in enumerate(arm)
            if (run := runs.get(identity)) and run.result
        }
        for name, arm in arms.items()
    }
    return Recorded(found, max((run.folds for one in groups for run in one.runs), default=1), _spread(arms, runs))


def _spread(arms: Mapping[str, Sequence[str]], runs: Mapping[str, Run]) -> float:
    """Returns the standard deviation of the targets that the first block was trained on."""
    for block in itertools.zip_longest(*arms.values()):  # an arm whose trials have all failed has no jobs
        for run in (runs[identity] for identity in block if identity in runs):
            if run.result:
                return float(np.mean(run.result.get("target_std") or 1.0))
    return 1.0


def tried(arms: Sequence[Mapping[str, str]], metric: str, cost: Cost, root: Path) -> list[dict[str, Ran | None]]:
    """Returns the trials of each arm by their settings; None for those that have failed or have no such score.

    Args:
        arms: the hashes of the configs of their trials.
        metric: as in `recorded`, and so are the others.

    Raises:
        UserError: what the runs have left cannot be read, or none of them has such a score.
    """
    runs = _with_score({identity for trials in arms for identity in trials.values()}, metric, root)
    ran = {identity: _ran(run, _score(run, metric), cost) for identity, run in runs.items() if run.result}
    return [{setting: ran.get(identity) for setting, identity in trials.items()} for trials in arms]


def _with_score(identities: Collection[str], metric: str, root: Path) -> dict[str, Run]:
    """Returns the runs with these hashes of their configs. A finished one without the score is as one that failed.

    Raises:
        UserError: there are no runs, or of those that have finished none has the score.
    """
    every = {config_hash(run.folder.saved_config("reading")): run for run in read_runs(root)}
    found = {identity: run for identity, run in every.items() if identity in identities}
    scored = {identity: unless_undefined(run, metric, "validation") for identity, run in found.items()}
    finished = [run for run in found.values() if run.result]
    if finished and not any(run.result for run in scored.values()):
        raise UserError(_undefined(finished[0], metric))
    return scored


def _undefined(run: Run, metric: str) -> str:
    assert run.result is not None
    scores = run.result["metrics"]["validation"]
    known = {name for name, value in scores.items() if value is not None} - NOT_COMPARED
    return (
        f"race.metric must be a score that runs define in validation; {metric} is not defined for {run.folder.path}, "
        f"nor for any other that has finished, as where all texts have one label or all targets are equal.\n"
        f"{nearest(metric, known)}"
    )


def _name(name: str, arm: Sequence[str], runs: Mapping[str, Run], groups: Sequence[Group]) -> str:
    """Returns the name of an arm, as the comparison calls it; the one that is given if it has no run."""
    own = [runs[identity] for identity in arm if identity in runs]
    return next((one.name for one in groups if own and own[0] in one.runs), name)


def _ran(run: Run, scores: Float[NDArray[np.float64], " units"], cost: Cost) -> Ran:
    assert run.result is not None
    end = (run.folder.path / "result.json").stat().st_mtime
    seconds = run.result["seconds"]
    return Ran(scores, cost_of([run], cost), seconds["total"], end, seconds["total"] - seconds["without_encoding"])


def _score(run: Run, metric: str) -> Float[NDArray[np.float64], " one"]:
    assert run.result is not None
    return np.array([sign(metric) * float(run.result["metrics"]["validation"][metric])])


def _scores(groups: Sequence[Group], metric: str) -> Scores:
    """Returns the scores of each run: of its units, or where they are not known or do not matter, of the run."""
    finished = [one for one in groups if one.finished]
    if not finished:
        return {}
    found = {run.folder.path: _score(run, metric) for one in finished for run in one.finished}
    if any(run.folds > 1 for one in finished for run in one.runs):
        return found
    evidence = gather(finished, metric, "validation")
    for one in finished:
        for block, (run,) in one.blocks.items():
            if (values := evidence.scores[one.name].get(block)) is not None and evidence.units is not None:
                found[run.folder.path] = by_unit(values[None, :], evidence.units)[0]
    return found
