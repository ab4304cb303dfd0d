"""Several groups that are looked at after every block of seeds, with one probability of a false claim over all looks.

The texts stay the same from look to look; only seeds are added. So successive looks agree more than those of a trial in
which everything is new, for which the bounds are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from src.arrays import NDArray
from src.statistics.crossed import Table, components, crossed
from src.statistics.estimate import Components, Estimate
from src.statistics.intervals import ALPHA
from src.statistics.planning import predicted


def first_look(groups: int) -> int:
    """Returns after how many blocks one looks first: two; for two groups three, since only their own two seeds would
    say how much seeds differ."""
    return 2 if groups > 2 else 3


def comparisons(groups: int, both_ways: bool) -> int:
    """Returns on how many bounds the claims about the groups of a race may rest (Bonferroni).

    Args:
        groups: that began.
        both_ways: both bounds of a pair count, since each of two equal groups may be called worse than the other;
            otherwise one, since of the claims that one group is worse than the other by more than the margin, and that
            it is not, one is true.
    """
    return math.comb(groups, 2) * (2 if both_ways else 1)


def alpha_at(look: int, blocks: int, first: int, last: bool = False) -> float:
    """Returns the probability of a false claim that one look may add.

    All looks up to that after the fraction t of the blocks have spent alpha ln(1 + (e - 1) t) together (Lan & DeMets
    1983, like the bounds of Pocock 1977): most is spent early, where it saves most.

    Args:
        look: the number of blocks that are there.
        blocks: the number of blocks at most.
        first: the number of blocks at the first look.
        last: there will be no other look, so what is left may be spent.
    """
    before = 0.0 if look <= first else _spent((look - 1) / blocks)
    return ALPHA * (1.0 - before if last else _spent(look / blocks) - before)


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
    """Returns the mean difference; with `of_all`, the mean square between seeds is the larger one of its own and that
    of all pairs, and the residual counts once.

    With two or three seeds, the own mean square is often small by chance: of six groups whose seeds differ strongly, a
    quarter of all races would make a false claim. The residual counts twice in `crossed` for that reason alone.

    Args:
        table: the differences of one pair, of at least two seeds.
        of_all: of groups that have these seeds; None: there are only two, and the difference is that of `crossed`.
    """
    units = table.shape[1]
    if of_all is None or units < 2:
        return crossed(table)
    own = components(table)
    ms_seed = max(own.ms_seed, of_all.value)
    parts = replace(own, ms_seed=ms_seed, seed=max(0.0, (ms_seed - own.residual) / units))
    return _estimate(float(table.mean()), parts, of_all.groups)


def expected(found: Estimate, seeds: int, groups: int) -> Estimate | None:
    """Returns the difference to expect with so many seeds and the same units; None if that is not known.

    Args:
        found: the difference now.
        seeds: their number then.
        groups: from which it is known how much seeds differ.
    """
    parts = found.components
    if parts is None:
        return None
    if groups < 3:
        return predicted(parts, seeds, parts.units, found.mean)
    ms_seed, ms_unit = parts.residual + parts.units * parts.seed, parts.residual + seeds * parts.unit
    return _estimate(found.mean, replace(parts, seeds=seeds, ms_seed=ms_seed, ms_unit=ms_unit), groups)


def _estimate(mean: float, parts: Components, groups: int) -> Estimate | None:
    """Returns the estimate whose mean squares are those of the components (Satterthwaite 1946)."""
    seed, unit = parts.ms_seed, parts.ms_unit
    total = max(seed + unit - parts.residual, seed, unit)
    if total <= 0:
        return None
    freedom = total**2 / (seed**2 / ((groups - 1) * (parts.seeds - 1)) + unit**2 / (parts.units - 1))
    return Estimate(mean, math.sqrt(total / (parts.seeds * parts.units)), freedom, parts)
