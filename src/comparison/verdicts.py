"""Verdicts on differences to the baseline."""

from __future__ import annotations

import math

from src.comparison.evidence import MIN_SEEDS, Kind
from src.statistics.intervals import ALPHA, Interval


def verdict(difference: Interval | None, margin: float, pairs: int, evidence: Kind, comparisons: int) -> str:
    """Returns the verdict on a difference to the baseline, where higher is better (Piaggio et al. 2012).

    Args:
        difference: with its interval, simultaneous for all comparisons; None gives `inconclusive`.
        margin: how much lower is still as good, chosen before the experiment.
        pairs: the number of seeds.
        evidence: with seeds alone, few of them only describe.
        comparisons: the number of groups that are compared with the baseline.
    """
    if evidence == "seeds" and pairs < MIN_SEEDS:
        return f"descriptive only: {pairs} of {seeds_needed(comparisons)} seeds"
    if difference is None:
        return "inconclusive"
    if difference.low > 0:
        return "superior"
    if difference.low > -margin:
        return "non-inferior"
    return "inferior" if difference.high < -margin else "inconclusive"


def seeds_needed(comparisons: int) -> int:
    """Returns the number of seeds from which Holm-corrected sign-flip tests of so many comparisons can reach alpha."""
    return max(MIN_SEEDS, math.ceil(math.log2(2 * comparisons / ALPHA)))
