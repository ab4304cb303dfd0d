"""Which arms leave a race after a block, and which arm would be chosen now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

from src.race.differences import Differences
from src.statistics.estimate import Estimate
from src.statistics.intervals import Interval

Goal = Literal["cheapest", "best"]


Reason = Literal["worse", "dearer", "failed"]


@dataclass(frozen=True)
class Rules:
    """What a race is about.

    Args:
        margin: how much lower a score is still as good.
        goal: `cheapest`: the cheapest arm that is at most the margin below the best; `best`: the best arm.
        blocks: how many blocks there are at most.
        budget: for how many seconds runs may be running; None: as long as it takes.
        metric: the validation score that decides.
    """

    margin: float
    goal: Goal
    blocks: int
    budget: float | None = None
    metric: str = "accuracy"


@dataclass(frozen=True)
class Exit:
    """Why an arm has left the race.

    Args:
        arm: its name.
        block: after how many blocks.
        reason: `worse` than another arm, with goal=cheapest by more than the margin; `dearer` than another arm and at
            most the margin better; `failed`: none of its runs has a result.
        other: that arm.
        difference: by how much the other arm scores higher.
    """

    arm: str
    block: int
    reason: Reason
    other: str | None = None
    difference: Interval | None = None


@dataclass
class Known:
    """What has been shown so far; all of it holds together.

    Args:
        above: by how much the first arm of a pair scores higher at most.
        replaced: the arms that have left since this arm is cheaper and as good, by arm.
        exits: of all arms that have left.
    """

    above: dict[tuple[str, str], float] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    exits: list[Exit] = field(default_factory=list)

    def add(self, pairs: Differences, racing: Sequence[str]) -> None:
        """Adds the intervals of a look."""
        for one, other in permutations(racing, 2):
            if found := pairs.interval(one, other):
                self.above[one, other] = min(found.high, self.above.get((one, other), found.high))

    def replaces(self, one: str, other: str, margin: float) -> bool:
        """Whether the other arm, and all that it has replaced, are at most the margin better than this one."""
        arms = [other, *self.replaced.get(other, [])]
        return all((bound := self.above.get((arm, one))) is not None and bound <= margin for arm in arms)

    def loss(self, arm: str, racing: Sequence[str]) -> float | None:
        """Returns by how much an arm is below the best of all at most; None if that is not known."""
        # Those that have left as worse are not the best.
        rivals = [*racing, *(left.arm for left in self.exits if left.reason == "dearer")]
        bounds = [self.above.get((rival, arm)) for rival in rivals if rival != arm]
        known = [bound for bound in bounds if bound is not None]
        return max([0.0, *known]) if len(known) == len(bounds) else None


def leader(scores: Mapping[str, float], racing: Sequence[str]) -> str:
    """Returns the arm with the highest score, the first of several."""
    return max(racing, key=lambda arm: scores[arm])


def by_cost(costs: Mapping[str, float], racing: Sequence[str]) -> list[str]:
    """Returns the arms from the cheapest on; of equal ones the first is taken to be cheaper."""
    return sorted(racing, key=lambda arm: costs[arm])


def choice(scores: Mapping[str, float], costs: Mapping[str, float], racing: Sequence[str], rules: Rules) -> str:
    """Returns the arm to choose by what was measured so far."""
    best = leader(scores, racing)
    if rules.goal == "best":
        return best
    return by_cost(costs, [arm for arm in racing if scores[arm] >= scores[best] - rules.margin])[0]


def leave(
    known: Known,
    pairs: Differences,
    scores: Mapping[str, float],
    costs: Mapping[str, float],
    racing: Sequence[str],
    rules: Rules,
    block: int,
) -> list[str]:
    """Lets arms leave after a block, and returns those that stay.

    Those that stay may replace others from the cheapest on, so that no arm is replaced by one that leaves as well.

    Args:
        known: what has been shown, with the intervals of this look; the exits are added to it.
        pairs: the differences at this look.
        scores: of the arms in the race.
        costs: of these arms.
        racing: these arms.
        rules: of the race.
        block: after how many blocks.
    """
    best, least = leader(scores, racing), rules.margin if rules.goal == "cheapest" else 0.0
    staying: list[str] = []
    for arm in by_cost(costs, racing) if rules.goal == "cheapest" else racing:
        lead = None if arm == best else pairs.interval(best, arm)
        if lead is not None and lead.low > least:
            known.exits.append(Exit(arm, block, "worse", best, lead))
        elif rules.goal == "cheapest" and (by := _cheaper(known, staying, arm, rules.margin)):
            known.exits.append(Exit(arm, block, "dearer", by, pairs.interval(by, arm)))
            known.replaced.setdefault(by, []).extend([arm, *known.replaced.get(arm, [])])
        else:
            staying.append(arm)
    return [arm for arm in racing if arm in staying]


def _cheaper(known: Known, cheaper: Sequence[str], arm: str, margin: float) -> str | None:
    return next((other for other in cheaper if known.replaces(other, arm, margin)), None)


def question(
    pairs: Differences, arm: str, chosen: str, scores: Mapping[str, float], costs: Mapping[str, float], rules: Rules
) -> tuple[Estimate, float] | None:
    """Returns the difference that shows that the chosen arm is to be preferred to another one, once its interval is
    narrow enough, and how narrow: the distance from the estimate to a bound. None: nothing is known of it."""
    found = pairs.estimate(arm, chosen)
    if rules.goal == "cheapest" and by_cost(costs, [chosen, arm])[0] == arm:
        found = pairs.estimate(leader(scores, list(scores)), arm)
        return None if found is None else (found, found.mean - rules.margin)  # the cheaper one must be worse
    if found is None:
        return None
    as_good = rules.margin - found.mean
    return found, as_good if rules.goal == "cheapest" else max(as_good, -found.mean)
