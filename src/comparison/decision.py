"""Which strategy to choose, which may be the best, and which are worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from src.comparison.differences import identical
from src.comparison.evidence import Evidence
from src.grouping.groups import Group
from src.statistics.best import AllPairs


@dataclass(frozen=True)
class Decision:
    """What follows from a comparison; the fields are keys of comparison.json. All of it holds together with 95%
    confidence.

    Args:
        chosen: the cheapest group that is shown to be at most the margin below the best; where none is shown to be, the
            cheapest candidate whose own score is at most the margin below the highest one. None if no group was trained
            to the end, or no difference can be estimated.
        sure: whether it is shown to be at most the margin below the best.
        candidates: the groups that may be the best.
        worse: the other groups, which are not the best.
        loss: by how much each group may be below the best at most; None where that cannot be estimated.
        identical: the groups that predict the same as a cheaper one, which stands for them here, with its name.
    """

    chosen: str | None
    sure: bool
    candidates: list[str]
    worse: list[str]
    loss: dict[str, float | None]
    identical: dict[str, str]


def decide(
    scores: Mapping[str, float],
    costs: Mapping[str, float],
    pairs: AllPairs,
    margin: float,
    same: Mapping[str, str],
) -> Decision:
    """Chooses among groups.

    Args:
        scores: of the groups that were trained to the end, the highest first.
        costs: of each group; lower is better.
        pairs: the differences of all groups.
        margin: how much below the best is still as good.
        same: the groups that predict the same as a cheaper one, with its name.
    """
    names = [name for name in scores if name not in same]
    found = pairs.best(names)
    good = [name for name, loss in found.loss.items() if loss is not None and loss <= margin]
    known = len(names) == 1 or any(pairs.estimate(*pair) for pair in combinations(names, 2))
    near = [name for name in found.candidates if scores[name] >= max(scores[other] for other in names) - margin]
    cheapest = sorted(good or near, key=lambda name: (costs[name], names.index(name)))
    chosen = cheapest[0] if cheapest and known else None
    worse = [name for name in names if name not in found.candidates]
    return Decision(chosen, bool(good) and known, found.candidates, worse, found.loss, dict(same))


def find_identical(groups: Sequence[Group], costs: Mapping[str, float], pairs: AllPairs) -> dict[str, str]:
    """Returns the groups that predict the same as a cheaper one, with its name.

    Args:
        groups: to look among.
        costs: of each group.
        pairs: their differences; where one can be estimated, predictions differ.
    """
    found: dict[str, str] = {}
    for cheap, dear in combinations(sorted(groups, key=lambda group: costs[group.name]), 2):
        names = cheap.name, dear.name
        if not found.keys() & {*names} and pairs.estimate(*names) is None and identical(cheap, dear):
            found[dear.name] = cheap.name
    return found


def all_pairs(evidence: Evidence, names: Sequence[str]) -> AllPairs:
    """Returns for each pair of groups by how much the first is higher."""
    return AllPairs(names, {(one, other): evidence.difference(one, other) for one, other in combinations(names, 2)})
