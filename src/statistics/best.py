"""Several groups, all of them compared with each other: which may be the best, which are worse, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.statistics.estimate import Estimate
from src.statistics.intervals import Interval

Pairs = Mapping[tuple[str, str], Estimate | None]


def estimated(pairs: Pairs, a: str, b: str) -> Estimate | None:
    """Returns by how much a is higher than b, from estimates of pairs that have each pair in one of its orders."""
    if (found := pairs.get((a, b))) is not None:
        return found
    other = pairs.get((b, a))
    return None if other is None else other.reversed


@dataclass(frozen=True)
class Best:
    """What is claimed of several groups, all of it together with 95% confidence.

    Args:
        candidates: the groups that are not shown to be worse than another one; the best group is one of them.
        loss: by how much each group is worse than the best at most; None where that cannot be estimated.
    """

    candidates: list[str]
    loss: dict[str, float | None]


@dataclass(frozen=True)
class AllPairs:
    """The differences of all pairs of groups, with intervals that hold together with 95% confidence (Bonferroni).

    Args:
        names: of the groups.
        estimates: for (a, b) by how much a is higher, for each pair in one of its orders; None or left out: it cannot
            be estimated.
    """

    names: Sequence[str]
    estimates: Pairs

    @property
    def comparisons(self) -> int:
        return max(1, math.comb(len(self.names), 2))

    def estimate(self, a: str, b: str) -> Estimate | None:
        """Returns by how much a is higher than b."""
        return estimated(self.estimates, a, b)

    def interval(self, a: str, b: str) -> Interval | None:
        """Returns by how much a is higher than b, with its simultaneous interval."""
        found = self.estimate(a, b)
        return None if found is None else found.interval(comparisons=self.comparisons)

    def p(self, a: str, b: str) -> float | None:
        """Returns the p of the difference, corrected for all pairs: at most 0.05 if the interval does not hold 0."""
        found = self.estimate(a, b)
        return None if found is None else min(1.0, self.comparisons * found.p())

    def best(self, among: Sequence[str]) -> Best:
        """Returns which of some of the groups may be the best of them.

        On the event that all intervals hold, no group is called worse than another one that it is as good as, so the
        best group is a candidate; and another group is below it by at most the upper bound of that pair, which is one
        of those that `loss` is the largest of.
        """
        bounds = {(a, b): self.interval(a, b) for a in among for b in among if a != b}
        worse = {b for (_, b), found in bounds.items() if found is not None and found.low > 0}
        candidates = [name for name in among if name not in worse]
        return Best(candidates, {b: _loss([bounds[a, b] for a in candidates if a != b]) for b in among})


def _loss(bounds: Sequence[Interval | None]) -> float | None:
    known = [bound.high for bound in bounds if bound is not None]
    return max([0.0, *known]) if len(known) == len(bounds) else None
