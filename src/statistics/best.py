"""Which of several groups may be the best, and by how much a group is worse at most (multiple comparisons with the
best; Edwards & Hsu 1983); several groups against one baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.statistics.estimate import Estimate
from src.statistics.intervals import LEVEL, Interval
from src.statistics.significance import holm

Pairs = Mapping[tuple[str, str], Estimate | None]


@dataclass(frozen=True)
class Best:
    """What is claimed of several groups, all of it together with 95% confidence.

    Args:
        candidates: the groups that cannot be excluded as the best.
        loss: by how much each group is worse than the best at most; None where that cannot be estimated.
    """

    candidates: list[str]
    loss: dict[str, float | None]


def best(names: Sequence[str], differences: Pairs, level: float = LEVEL) -> Best:
    """Returns the confidence set of the best group and the largest loss of each group.

    Let b be the best group, and consider the event that the one-sided lower bounds of how much higher k is than b, each
    at level 1 - alpha / (groups - 1), hold for all k: its probability is at least 1 - alpha (Bonferroni). On it these
    bounds are at most 0, so b is not excluded; and k is worse than b by at most the opposite of its bound, which is one
    of those that `loss` is the largest of. So all claims hold together, although b is not known.

    Args:
        names: of at least one group.
        differences: for (a, b) the estimate of how much higher a is; for each pair in one of its orders. None: it
            cannot be estimated; then neither excludes the other.
        level: with which all claims hold together.
    """
    at_most = {(a, b): _upper(differences, a, b, level, len(names) - 1) for a in names for b in names if a != b}
    candidates = [
        a for a in names if all(bound is None or bound >= 0 for (first, _), bound in at_most.items() if first == a)
    ]
    return Best(candidates, {name: _loss([at_most[a, name] for a in candidates if a != name]) for name in names})


def _upper(differences: Pairs, a: str, b: str, level: float, comparisons: int) -> float | None:
    """Returns by how much a is higher than b at most."""
    found = differences.get((a, b))
    if found is None and (other := differences.get((b, a))) is not None:
        found = other.reversed
    return None if found is None else found.interval(level, comparisons, sides=1).high


def _loss(bounds: Sequence[float | None]) -> float | None:
    known = [bound for bound in bounds if bound is not None]
    return max([0.0, *known]) if len(known) == len(bounds) else None


def against(differences: Sequence[Estimate | None], level: float = LEVEL) -> list[tuple[Interval | None, float | None]]:
    """Returns for each difference to a baseline its interval and its p: the intervals hold together with `level`
    (Bonferroni), the p values are corrected for their number (Holm). None where there is no estimate."""
    known = [index for index, found in enumerate(differences) if found is not None]
    corrected = dict(zip(known, holm([found.p() for found in differences if found is not None]), strict=True))
    return [
        (None if found is None else found.interval(level, len(known)), corrected.get(index))
        for index, found in enumerate(differences)
    ]
