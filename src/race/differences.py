"""The differences of all pairs of arms after some blocks, and what to expect of them after more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from src.race.recorded import Recorded
from src.statistics.best import AllPairs
from src.statistics.estimate import Estimate
from src.statistics.planning import predicted
from src.statistics.resampled import resampled
from src.statistics.sequential import SeedSquare, alpha_at, difference, first_look, seed_square

NEXT_TO_NOTHING = 1e-12


def all_pairs(recorded: Recorded, racing: Sequence[str], look: int, blocks: int) -> AllPairs:
    """Returns by how much arms differ after so many blocks; all intervals of all looks hold together.

    Args:
        recorded: the runs of these blocks, of all arms that began.
        racing: those to compare.
        look: the number of blocks.
        blocks: the number of blocks at most.
    """
    found = {(one, other): _difference(recorded, racing, one, other) for one, other in combinations(racing, 2)}
    return AllPairs(recorded.names, found, level_at(look, blocks, len(recorded.names)))


def level_at(look: int, blocks: int, arms: int) -> float:
    """Returns the level of all intervals of a look."""
    return 1 - alpha_at(look, blocks, first_look(arms))


def _difference(recorded: Recorded, racing: Sequence[str], one: str, other: str) -> Estimate | None:
    mine, theirs = recorded.arms[one], recorded.arms[other]
    shared = sorted(mine.keys() & theirs.keys())
    if len(shared) < 2 or len({recorded.arms[arm][b].scores.size for arm in (one, other) for b in shared}) > 1:
        return None
    table = np.array([mine[block].scores - theirs[block].scores for block in shared])
    if not table.any():  # the same predictions in every run
        return Estimate(0.0, NEXT_TO_NOTHING, math.inf)
    if recorded.folds > 1:
        return resampled(table.mean(1), recorded.folds)
    return difference(table, _seed_square(recorded, racing, shared))


def _seed_square(recorded: Recorded, racing: Sequence[str], blocks: Sequence[int]) -> SeedSquare | None:
    """Returns the mean square between seeds of all arms that have these blocks."""
    arms = [recorded.arms[arm] for arm in racing if recorded.arms[arm].keys() >= {*blocks}]
    means = np.array([[runs[block].score for block in blocks] for runs in arms])
    return seed_square(means, arms[0][blocks[0]].scores.size)


def expected(found: Estimate, blocks: int, groups: int, folds: int) -> Estimate | None:
    """Returns the estimate to expect after so many blocks; None if that cannot be said.

    Args:
        found: what is estimated now.
        blocks: their number then.
        groups: the number of arms, from which it is known how much seeds differ.
        folds: as in `Recorded`.
    """
    if folds > 1:  # as in `resampled`
        now, then = (1 / count + 1 / (folds - 1) for count in (found.freedom + 1, blocks))
        return Estimate(found.mean, found.error * math.sqrt(then / now), blocks - 1.0)
    parts = found.components
    return None if parts is None else predicted(parts, blocks, parts.units, found.mean, max(2, groups))
