"""The differences of all pairs of arms after some blocks, and what to expect of them after more."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from src.race.recorded import Recorded
from src.statistics import sequential
from src.statistics.best import Pairs, estimated
from src.statistics.estimate import Estimate
from src.statistics.intervals import Interval
from src.statistics.resampled import resampled
from src.statistics.sequential import SeedSquare, alpha_at, comparisons, difference, first_look, seed_square

UNSEEN = 2.5  # the standard error of a difference that no text shows, times the number of texts


@dataclass(frozen=True)
class Differences:
    """The differences of pairs of arms at a look.

    The bounds that claims rest on hold together at all looks with 95% probability; see `sequential.comparisons`.

    Args:
        estimates: for (a, b) by how much a scores higher, for each pair in one of its orders; None or left out: it
            cannot be estimated.
        alpha: the probability of a false claim that this look may add.
        bounds: on how many bounds claims may rest.
    """

    estimates: Pairs
    alpha: float
    bounds: int

    def estimate(self, a: str, b: str) -> Estimate | None:
        """Returns by how much a scores higher than b."""
        return estimated(self.estimates, a, b)

    def interval(self, a: str, b: str) -> Interval | None:
        """Returns by how much a scores higher than b, with its interval."""
        found = self.estimate(a, b)
        return None if found is None else found.interval(1 - self.alpha, self.bounds, sides=1)


def all_pairs(
    recorded: Recorded, racing: Sequence[str], look: int, blocks: int, both_ways: bool, last: bool = False
) -> Differences:
    """Returns by how much arms differ after so many blocks.

    Args:
        recorded: the runs of these blocks, of all arms that began.
        racing: those to compare.
        look: the number of blocks.
        blocks: the number of blocks at most.
        both_ways: as for `comparisons`.
        last: there will be no other look.
    """
    found = {(one, other): _difference(recorded, racing, one, other) for one, other in combinations(racing, 2)}
    arms = len(recorded.arms)
    return Differences(found, alpha_at(look, blocks, first_look(arms), last), comparisons(arms, both_ways))


def are_compared(recorded: Recorded, racing: Sequence[str], one: str, other: str) -> bool:
    """Whether two arms share enough blocks: two, or three where only their own seeds would say how much seeds differ,
    since all others have failed in one of these blocks. Arguments as for `all_pairs`."""
    shared = recorded.arms[one].keys() & recorded.arms[other].keys()
    return len(shared) >= first_look(len(_with(recorded, racing, shared)))


def _with(recorded: Recorded, racing: Sequence[str], blocks: Collection[int]) -> list[str]:
    return [arm for arm in racing if recorded.arms[arm].keys() >= {*blocks}]


def _difference(recorded: Recorded, racing: Sequence[str], one: str, other: str) -> Estimate | None:
    mine, theirs = recorded.arms[one], recorded.arms[other]
    shared = sorted(mine.keys() & theirs.keys())
    sizes = {runs[block].scores.size for runs in (mine, theirs) for block in shared}
    if len(sizes) != 1 or not are_compared(recorded, racing, one, other):
        return None
    table = np.array([mine[block].scores - theirs[block].scores for block in shared])
    if not table.any():
        # Few texts may show nothing by chance: where a fraction -ln(p) / N of all texts differs, N texts do so with
        # probability p. For p down to 0.0001 a normal bound at p with this standard error lies beyond that.
        return Estimate(0.0, UNSEEN / table.shape[1], math.inf)
    if recorded.folds > 1:
        return resampled(table.mean(1), recorded.folds)
    return difference(table, _seed_square(recorded, racing, shared))


def _seed_square(recorded: Recorded, racing: Sequence[str], blocks: Sequence[int]) -> SeedSquare | None:
    """Returns the mean square between seeds of all arms that have these blocks."""
    arms = [recorded.arms[arm] for arm in _with(recorded, racing, blocks)]
    means = np.array([[runs[block].score for block in blocks] for runs in arms])
    return seed_square(means, arms[0][blocks[0]].scores.size)


def expected(found: Estimate, blocks: int, arms: int, folds: int) -> Estimate | None:
    """Returns the difference to expect after so many blocks; None if that is not known.

    Args:
        found: the difference now.
        blocks: their number then.
        arms: the number of arms that will have run.
        folds: as in `Recorded`.
    """
    if folds == 1:
        return sequential.expected(found, blocks, arms)
    now, then = (1 / count + 1 / (folds - 1) for count in (found.freedom + 1, blocks))  # as in `resampled`
    return Estimate(found.mean, found.error * math.sqrt(then / now), blocks - 1.0)
