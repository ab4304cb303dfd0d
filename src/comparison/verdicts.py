"""Verdicts on differences to the baseline."""

from __future__ import annotations

from src.comparison.evidence import MIN_SEEDS, Kind
from src.statistics.intervals import Interval


def verdict(difference: Interval | None, margin: float, pairs: int, evidence: Kind) -> str:
    """Returns the verdict on a difference to the baseline, where higher is better (Piaggio et al. 2012).

    Args:
        difference: with its interval, simultaneous for all comparisons; None gives `inconclusive`.
        margin: how much lower is still as good, chosen before the experiment.
        pairs: the number of seeds.
        evidence: with seeds alone, few of them only describe.
    """
    if evidence == "seeds" and pairs < MIN_SEEDS:
        return f"descriptive only: {pairs} of {MIN_SEEDS} seeds"
    if difference is None:
        return "inconclusive"
    if difference.low > 0:
        return "superior"
    if difference.low > -margin:
        return "non-inferior"
    return "inferior" if difference.high < -margin else "inconclusive"
