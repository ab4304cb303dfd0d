"""Which arms are dearer than others: measured times and memories vary, and what varies by chance decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from src.config.sections import Cost
from src.race.recorded import Recorded

MEASURED = ("time", "memory")  # costs that differ between runs of one strategy
CLEARLY = 0.05  # the fraction by which a measured cost must be lower, in the mean


def levels(runs: Recorded, arms: Iterable[str], cost: Cost) -> dict[str, float]:
    """Returns what each arm costs on average; arms that are not clearly dearer than a cheaper one cost what that does.

    Args:
        runs: so far.
        arms: that have a run.
        cost: what makes an arm cheaper.
    """
    found: dict[str, float] = {}
    cheapest: str | None = None
    for arm in sorted(arms, key=runs.cost):
        if cheapest is None or _is_clear(runs, cheapest, arm, cost):
            cheapest = arm
        found[arm] = runs.cost(cheapest)
    return found


def _is_clear(runs: Recorded, cheap: str, dear: str, cost: Cost) -> bool:
    """Whether one arm is cheaper than another: if costs are measured, in every block that both have, and clearly."""
    if cost not in MEASURED:
        return runs.cost(cheap) < runs.cost(dear)
    mine, theirs = runs.arms[cheap], runs.arms[dear]
    pairs = [(mine[block].cost, theirs[block].cost) for block in mine.keys() & theirs.keys()]
    less, more = map(sum, zip(*pairs, strict=True)) if pairs else (runs.cost(cheap), runs.cost(dear))
    return all(one < other for one, other in pairs) and less <= (1 - CLEARLY) * more
