"""What would settle a comparison that is open: more seeds, or more test texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.comparison.decision import Decision, Differences
from src.statistics.estimate import Components, Estimate
from src.statistics.planning import seeds_needed, units_needed


@dataclass(frozen=True)
class Plan:
    """What is expected to settle which group to choose; the fields are keys of comparison.json.

    Args:
        groups: that need more runs, or more test texts.
        seeds: the number of seeds with which it is settled, on the same test texts; None: no number helps.
        runs: the runs that are missing for that.
        seconds: that these runs take.
        texts: the number of test texts with which it is settled, with the same seeds; None: no number helps.
    """

    groups: list[str]
    seeds: int | None
    runs: int
    seconds: float
    texts: int | None


def plan(
    decision: Decision, differences: Differences, margin: float, seconds: Mapping[str, float], comparisons: int
) -> Plan | None:
    """Returns what would show whether the chosen group is at most the margin below the best; None if that is shown
    already, or if nothing can be said.

    Args:
        decision: the state of things.
        differences: of each pair of groups, in one order.
        margin: how much below the best is still as good.
        seconds: that one run of each group takes.
        comparisons: that hold together.
    """
    if decision.sure or decision.chosen is None:
        return None
    open_pairs = {
        rival: found
        for rival in decision.candidates
        if (found := difference(differences, rival, decision.chosen)) is not None and found.components
    }
    if not open_pairs:
        return None
    needed = [_needed(found, margin, comparisons) for found in open_pairs.values()]
    groups = [decision.chosen, *open_pairs]
    have = max(found.components.seeds for found in open_pairs.values() if found.components)
    seeds, texts = (_largest([need[index] for need in needed]) for index in (0, 1))
    more = 0 if seeds is None else seeds - have
    return Plan(groups, seeds, more * len(groups), more * sum(seconds[name] for name in groups), texts)


def difference(differences: Differences, one: str, other: str) -> Estimate | None:
    """Returns by how much the first group is higher, whichever order the pair is in."""
    if (one, other) in differences:
        return differences[one, other]
    found = differences.get((other, one))
    return None if found is None else found.reversed


def _needed(found: Estimate, margin: float, comparisons: int) -> tuple[int | None, int | None]:
    """Returns the seeds, or the texts, with which a rival is expected to be shown better, or at most the margin better,
    whichever is easier."""
    components: Components | None = found.components
    assert components
    target = max(found.mean, margin - found.mean)
    seeds = None if components.seeds == 1 else seeds_needed(components, target, comparisons, sides=1)
    return seeds, units_needed(components, target, comparisons, sides=1)


def _largest(needed: Sequence[int | None]) -> int | None:
    return None if None in needed else max(n for n in needed if n is not None)
