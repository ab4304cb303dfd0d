"""What the runs of a race have left: validation scores, costs and times, by arm and block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from src.arrays import NDArray


@dataclass(frozen=True)
class Ran:
    """A run with a result.

    Args:
        scores: of each unit, which is a text or several near copies; their mean is the validation score. A single one
            where the scores of texts are not known, or do not matter. Higher is better: errors are negative.
        cost: by which arms are cheaper or dearer.
        seconds: that it took.
        end: when it ended, in seconds since the epoch.
        encoding: the part of `seconds` that went to texts of an activation store, which the first run fills for all.
    """

    scores: Float[NDArray[np.float64], " units"]
    cost: float
    seconds: float
    end: float
    encoding: float = 0.0

    @property
    def score(self) -> float:
        return float(self.scores.mean())


@dataclass(frozen=True)
class Recorded:
    """The runs of a race.

    Args:
        arms: the runs with a result of each arm, by the number of their block, from 0; those that failed, or
            finished without the score that decides, are missing.
        folds: of the cross-validation whose folds are the blocks; 1 without.
        spread: the standard deviation of the targets in training, averaged over them; 1 for classes.
        trials: the runs that an arm's learning rates are chosen by, by arm and setting; None: it has failed, or
            finished without the score. They are no evidence, since the highest of several scores is high by chance too,
            but they take time.
    """

    arms: Mapping[str, Mapping[int, Ran]]
    folds: int = 1
    spread: float = 1.0
    trials: Mapping[str, Mapping[str, Ran | None]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.arms)

    @property
    def tuning(self) -> list[Ran]:
        """The trials with a result."""
        return [run for trials in self.trials.values() for run in trials.values() if run]

    @property
    def runs(self) -> list[Ran]:
        """All runs, with the trials."""
        return [*self.tuning, *(run for runs in self.arms.values() for run in runs.values())]

    def until(self, blocks: int) -> Recorded:
        """Returns the runs of the first so many blocks."""
        arms = {arm: {block: run for block, run in runs.items() if block < blocks} for arm, runs in self.arms.items()}
        return replace(self, arms=arms)

    def score(self, arm: str) -> float:
        """Returns the mean validation score of an arm, which has a run."""
        return float(np.mean([run.score for run in self.arms[arm].values()]))

    def cost(self, arm: str) -> float:
        """Returns the mean cost of its runs."""
        return float(np.mean([run.cost for run in self.arms[arm].values()]))

    def seconds(self, arm: str) -> float:
        """Returns the mean time of its runs without encoding, which a further run need not repeat."""
        return float(np.mean([run.seconds - run.encoding for run in self.arms[arm].values()]))


def seconds_running(runs: Sequence[Ran]) -> float:
    """Returns for how many seconds at least one of the runs was running: pauses do not count, and runs side by side
    count once."""
    total, covered = 0.0, -np.inf
    for begin, end in sorted((run.end - run.seconds, run.end) for run in runs):
        total += max(0.0, end - max(begin, covered))
        covered = max(covered, end)
    return float(total)
