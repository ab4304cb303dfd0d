"""Which strategy to choose, which may be the best, and which are worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from src.comparison.evidence import Evidence
from src.statistics.best import best
from src.statistics.estimate import Estimate

Cost = Literal["time", "memory", "parameters", "inference"]
Differences = Mapping[tuple[str, str], Estimate | None]


@dataclass(frozen=True)
class Decision:
    """What follows from a comparison; the fields are keys of comparison.json. All of it holds together with 95%
    confidence.

    Args:
        chosen: the cheapest group that is at most the margin below the best; where none is shown to be, the cheapest
            candidate. None if no group was trained to the end.
        sure: whether it is shown to be at most the margin below the best.
        candidates: the groups that may be the best.
        worse: the other groups, which are not the best.
        loss: by how much each group may be below the best at most; None where that cannot be estimated.
    """

    chosen: str | None
    sure: bool
    candidates: list[str]
    worse: list[str]
    loss: dict[str, float | None]


def decide(names: Sequence[str], costs: Mapping[str, float], differences: Differences, margin: float) -> Decision:
    """Chooses among groups.

    Args:
        names: of the groups that were trained to the end, the highest score first.
        costs: of each group; lower is better.
        differences: of each pair of groups, in one order.
        margin: how much below the best is still as good.
    """
    if not names:
        return Decision(None, False, [], [], {})
    found = best(names, differences)
    good = [name for name, loss in found.loss.items() if loss is not None and loss <= margin]
    chosen = min(good or found.candidates, key=lambda name: (costs[name], names.index(name)))
    worse = [name for name in names if name not in found.candidates]
    return Decision(chosen, bool(good), found.candidates, worse, found.loss)


def all_differences(evidence: Evidence, names: Sequence[str]) -> Differences:
    """Returns for each pair of groups by how much the first is higher."""
    return {(one, other): evidence.difference(one, other) for one, other in combinations(names, 2)}
