"""Which arms leave a race after a block, and which arm would be chosen now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

from src.config.sections import Cost
from src.race.differences import Differences
from src.statistics.estimate import Estimate
from src.statistics.intervals import Interval

Goal = Literal["cheapest", "best"]


Reason = Literal["worse", "dearer", "failed"]


@dataclass(frozen=True)
class Rules:
    """What a race is about.

    Args:
        margin: how much worse a score is still as good.
        goal: `cheapest`: the cheapest arm that is at most the margin below the best; `best`: the best arm.
        blocks: how many blocks there are at most.
        budget: for how many seconds runs may be running; None: as long as it takes.
        metric: the validation score that decides.
        cost: what makes an arm cheaper.
    """

    margin: float
    goal: Goal
    blocks: int
    budget: float | None = None
    metric: str = "accuracy"
    cost: Cost = "time"

    @property
    def both_ways(self) -> bool:
        """Whether either of two equal arms may be called worse by an estimate that its interval just misses. With a
        margin the estimate must be off by that much more, so that the claim which is at its margin counts alone."""
        return self.goal == "best" or self.margin == 0


@dataclass(frozen=True)
class Exit:
    """Why an arm has left the race.

    Args:
        arm: its name.
        block: after how many blocks.
        reason: `worse` than another arm, with goal=cheapest by more than the margin; `dearer` than another arm, or as
            dear with a lower score, and at most the margin better; `failed`: none of its runs has a result.
        other: that arm.
        difference: by how much the other arm scores higher.
    """

    arm: str
    block: int
    reason: Reason
    other: str | None = None
    difference: Interval | None = None


@dataclass(frozen=True)
class Standing:
    """The arms with a result that are in the race after a block, before any of them leaves.

    Args:
        scores: their mean scores.
        costs: what they cost, from `costs.levels`: arms that are about as dear cost the same.
        pairs: their differences at this look.
    """

    scores: Mapping[str, float]
    costs: Mapping[str, float]
    pairs: Differences

    @property
    def leader(self) -> str:
        """The arm with the highest score, the first of several."""
        return max(self.scores, key=lambda arm: self.scores[arm])

    def by_cost(self, arms: Iterable[str]) -> list[str]:
        """Returns arms from the cheapest on; of those that cost the same, from the highest score on, and then the
        first of them."""
        return sorted(arms, key=lambda arm: (self.costs[arm], -self.scores[arm]))

    def among(self, arms: Sequence[str]) -> Standing:
        """Returns the same without other arms."""
        return Standing({arm: self.scores[arm] for arm in arms}, self.costs, self.pairs)


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


def choice(known: Known, now: Standing, rules: Rules) -> str:
    """Returns the arm to choose by what is known so far.

    With goal=cheapest: the cheapest that is shown to be at most the margin below the best; where none is, the cheapest
    that may be the best and whose own score is at most the margin below the highest, as in a comparison.
    """
    best, arms = now.leader, list(now.scores)
    if rules.goal == "best":
        return best
    leads = {arm: now.pairs.interval(best, arm) for arm in arms if arm != best}
    near = [arm for arm in arms if now.scores[arm] >= now.scores[best] - rules.margin]
    good = [arm for arm in arms if (loss := known.loss(arm, arms)) is not None and loss <= rules.margin]
    return now.by_cost(good or [arm for arm in near if (lead := leads.get(arm)) is None or lead.low <= 0])[0]


def leave(known: Known, now: Standing, rules: Rules, block: int) -> list[str]:
    """Lets arms leave after a block, and returns those that stay.

    Those that stay may replace others from the cheapest on, so that no arm is replaced by one that leaves as well.

    Args:
        known: what has been shown, with the intervals of this look; the exits are added to it.
        now: the arms in the race.
        rules: of the race.
        block: after how many blocks.
    """
    best, cheapest = now.leader, rules.goal == "cheapest"
    staying: list[str] = []
    for arm in now.by_cost(now.scores):
        lead = None if arm == best else now.pairs.interval(best, arm)
        if lead is not None and lead.low > (rules.margin if cheapest else 0.0):
            known.exits.append(Exit(arm, block, "worse", best, lead))
        elif cheapest and (by := next((one for one in staying if known.replaces(one, arm, rules.margin)), None)):
            known.exits.append(Exit(arm, block, "dearer", by, now.pairs.interval(by, arm)))
            known.replaced.setdefault(by, []).extend([arm, *known.replaced.get(arm, [])])
        else:
            staying.append(arm)
    return [arm for arm in now.scores if arm in staying]


def question(now: Standing, arm: str, chosen: str, rules: Rules) -> tuple[Estimate, float] | None:
    """Returns the difference that shows that the chosen arm is to be preferred to another one, once its interval is
    narrow enough, and how narrow: the distance from the estimate to a bound. None: nothing is known of it."""
    if rules.goal == "cheapest" and now.by_cost([chosen, arm])[0] == arm:  # the cheaper one must be worse
        found = now.pairs.estimate(now.leader, arm)
        return None if found is None else (found, found.mean - rules.margin)
    found = now.pairs.estimate(arm, chosen)
    if found is None:
        return None
    as_good = rules.margin - found.mean
    return found, as_good if rules.goal == "cheapest" else max(as_good, -found.mean)
