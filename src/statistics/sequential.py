"""Several groups that are looked at after every block of seeds, with one probability of a false claim over all looks.

The texts stay the same from look to look; only seeds are added. So successive looks agree more than those of a trial in
which everything is new, for which the bounds are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from src.statistics.crossed import Table, components, crossed, variance_of_mean
from src.statistics.estimate import Estimate
from src.statistics.intervals import ALPHA


def first_look(groups: int) -> int:
    """Returns after how many blocks one looks first: two; for two groups three, since only their own two seeds would
    say how much seeds differ."""
    return 2 if groups > 2 else 3


def alpha_at(look: int, blocks: int, first: int) -> float:
    """Returns the probability of a false claim that one look may add.

    All looks up to that after the fraction t of the blocks have spent alpha ln(1 + (e - 1) t) together (Lan & DeMets
    1983, like the bounds of Pocock 1977): most is spent early, where it saves most.

    Args:
        look: the number of blocks that are there.
        blocks: the number of blocks at most.
        first: the number of blocks at the first look.
    """
    before = 0.0 if look <= first else _spent((look - 1) / blocks)
    return ALPHA * (_spent(look / blocks) - before)


def _spent(fraction: float) -> float:
    return math.log1p((math.e - 1) * fraction)


@dataclass(frozen=True)
class SeedSquare:
    """The mean square between seeds of the difference of two groups, as it is on average over all pairs.

    Args:
        value: the mean square.
        groups: that it is of, at least three.
    """

    value: float
    groups: int


def seed_square(means: Float[NDArray[np.float64], "groups seeds"], units: int) -> SeedSquare | None:
    """Returns the mean square between seeds over all pairs: twice that of the residuals of groups and seeds.

    None for fewer than three groups or two seeds.

    Args:
        means: the score of each run.
        units: the number of units in each score.
    """
    groups, seeds = means.shape
    if groups < 3 or seeds < 2:
        return None
    rest = means - means.mean(1, keepdims=True) - means.mean(0) + means.mean()
    return SeedSquare(2 * units * float((rest**2).sum()) / ((groups - 1) * (seeds - 1)), groups)


def difference(table: Table, of_all: SeedSquare | None) -> Estimate | None:
    """Returns the mean difference, as `crossed` does, with the larger one of its own mean square between seeds and that
    of all pairs. Its own is often small by chance with two or three seeds: of six groups whose seeds differ strongly, a
    quarter of all races would make a false claim.

    Args:
        table: the differences of one pair, of at least two seeds.
        of_all: of groups that have these seeds; None: there are only two.
    """
    seeds, units = table.shape
    if of_all is None or units < 2:
        return crossed(table)
    own = components(table)
    square = max(own.ms_seed, of_all.value)
    variance, freedom = variance_of_mean(seeds, units, square, own.ms_unit, of_all.groups)
    if variance <= 0:
        return None
    seed = max(0.0, (square - own.residual) / units)
    return Estimate(float(table.mean()), math.sqrt(variance), freedom, replace(own, seed=seed, ms_seed=square))
