"""What would settle a comparison that is open: more seeds, more test texts, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from src.comparison.decision import Decision
from src.comparison.rows import Row
from src.statistics.best import AllPairs
from src.statistics.estimate import Components, Estimate
from src.statistics.planning import seeds_needed, units_needed

FACTORS = (2, 4, 8, 16, 32)  # by how much more test texts are tried together with more seeds


@dataclass(frozen=True)
class Plan:
    """What is expected to settle which group to choose; the fields are keys of comparison.json.

    Args:
        groups: that need more runs, or more test texts.
        seeds: the number of seeds with which it is settled, on the same test texts; None: no number helps.
        runs: the runs that are missing for that.
        seconds: that these runs take.
        texts: the number of test texts with which it is settled, with the same seeds; None: no number helps.
        both: if neither helps alone: the numbers of seeds and of test texts that help together.
    """

    groups: list[str]
    seeds: int | None
    runs: int
    seconds: float
    texts: int | None
    both: tuple[int, int] | None


def plan(decision: Decision, pairs: AllPairs, margin: float, rows: Sequence[Row]) -> Plan | None:
    """Returns what would show whether the chosen group is at most the margin below the best; None if that is shown
    already, or if nothing can be said.

    Args:
        decision: the state of things.
        pairs: the differences of all groups.
        margin: how much below the best is still as good.
        rows: of all groups, with their seeds and the time that a run takes.
    """
    if decision.sure or decision.chosen is None:
        return None
    rivals = {name: pairs.estimate(name, decision.chosen) for name in decision.candidates if name != decision.chosen}
    # From one seed the variance between seeds is unknown.
    known = {name: found for name, found in rivals.items() if found and found.components and found.components.seeds > 1}
    if not known or len(known) < len(rivals):
        return None
    questions = [_Question.of(found, margin, pairs.comparisons) for found in known.values()]
    groups = [decision.chosen, *known]
    seeds, texts = (_largest(found) for found in zip(*(question.alone() for question in questions), strict=True))
    both = None if seeds or texts else _together(questions)
    if seeds is not None:  # the command for it gives each group all seeds that one of them has
        seeds = max(seeds, len({seed for row in rows for seed in row.seeds}))
    more = [(0 if seeds is None else seeds - len(row.seeds), row.seconds) for row in rows if row.name in groups]
    runs, taken = sum(count for count, _ in more), sum(count * each for count, each in more)
    return Plan(groups, seeds, runs, taken, texts, both)


@dataclass(frozen=True)
class _Question:
    """Whether a rival is better, or at most the margin better, whichever is easier to show."""

    components: Components
    target: float  # the distance from the estimate to a bound that shows it
    comparisons: int

    @staticmethod
    def of(found: Estimate, margin: float, comparisons: int) -> _Question:
        assert found.components
        return _Question(found.components, max(found.mean, margin - found.mean), comparisons)

    def alone(self) -> tuple[int | None, int | None]:
        """Returns the seeds, and the texts, that are expected to show it."""
        return (
            seeds_needed(self.components, self.target, self.comparisons),
            units_needed(self.components, self.target, self.comparisons),
        )

    def seeds_with(self, factor: int) -> int | None:
        """Returns the seeds that are expected to show it on that many times as many texts."""
        larger = replace(self.components, units=factor * self.components.units)
        return seeds_needed(larger, self.target, self.comparisons)


def _together(questions: Sequence[_Question]) -> tuple[int, int] | None:
    for factor in FACTORS:
        if seeds := _largest([question.seeds_with(factor) for question in questions]):
            return seeds, factor * questions[0].components.units
    return None


def _largest(needed: Sequence[int | None]) -> int | None:
    return None if None in needed else max(n for n in needed if n is not None)
