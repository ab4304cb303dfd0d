"""How wide an interval will be with other numbers of seeds and texts, and how many of them decide."""

from __future__ import annotations

import math

from src.statistics.crossed import variance_of_mean
from src.statistics.estimate import Components, Estimate

MOST_SEEDS = 20


MOST_UNITS = 1_000_000


STEP = 1.1  # times as many units are tried next


def predicted(components: Components, seeds: int, units: int, mean: float = 0.0) -> Estimate | None:
    """Returns the estimate to expect with so many seeds and units, if the mean and the components stay the same.

    Its variance is that of `crossed`, with the mean squares to expect: residual + N seed and residual + S unit. None
    with fewer than two units, or more than one seed where the components come from one.
    """
    if units < 2 or (components.seeds == 1 and seeds != 1):
        return None
    ms_seed, ms_unit = components.residual + units * components.seed, components.residual + seeds * components.unit
    variance, freedom = variance_of_mean(seeds, units, ms_seed, ms_unit)
    return Estimate(mean, math.sqrt(variance), freedom, components, seeds == 1) if variance > 0 else None


def seeds_needed(components: Components, target: float, comparisons: int = 1, sides: int = 2) -> int | None:
    """Returns the smallest number of seeds, at least those there are, whose interval is expected to be that narrow with
    the same units; None if `MOST_SEEDS` are not enough.

    Args:
        components: of the difference.
        target: the largest distance from the estimate to a bound.
        comparisons: as for `Estimate.interval`.
        sides: likewise.
    """
    for seeds in range(components.seeds, MOST_SEEDS + 1):
        found = predicted(components, seeds, components.units)
        if found is not None and found.half_width(comparisons=comparisons, sides=sides) <= target:
            return seeds
    return None


def units_needed(components: Components, target: float, comparisons: int = 1, sides: int = 2) -> int | None:
    """Returns the smallest number of units, at least those there are, whose interval is expected to be that narrow with
    the same seeds; None if no number up to `MOST_UNITS` is enough. Arguments as for `seeds_needed`.

    More units may make the interval wider again: what is left then is the variance between few seeds, which has few
    degrees of freedom. So the search goes up, and not down from the largest number.
    """

    def enough(units: int) -> bool:
        found = predicted(components, components.seeds, units)
        return found is not None and found.half_width(comparisons=comparisons, sides=sides) <= target

    low = high = components.units
    while not enough(high):
        if high >= MOST_UNITS:
            return None
        low, high = high + 1, min(math.ceil(STEP * high), MOST_UNITS)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
