"""Races from recorded scores: who leaves, when it ends, and what does not change it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.generator import Population, equal
from src.arrays import NDArray
from src.race.costs import levels
from src.race.differences import Differences, all_pairs
from src.race.recorded import Ran, Recorded, seconds_running
from src.race.replay import Race, replay
from src.race.rules import Known, Rules, Standing, leave
from src.race.tuning import best
from src.statistics.estimate import Estimate

CHEAPEST = Rules(margin=0.02, goal="cheapest", blocks=5)
BEST = replace(CHEAPEST, goal="best")
TEXTS = 1_000


def flipped(base: NDArray[np.float64], lost: int, swapped: int, seed: int) -> NDArray[np.float64]:
    """Returns the same scores, but `lost` texts fewer are right, and `swapped` others are right instead."""
    random, scores = np.random.default_rng(seed), base.copy()
    right, wrong = np.flatnonzero(base == 1), np.flatnonzero(base == 0)
    scores[random.choice(right, lost + swapped, replace=False)] = 0
    scores[random.choice(wrong, swapped, replace=False)] = 1
    return scores


def recorded(arms: Mapping[str, tuple[int, float]], blocks: int = 5, swapped: int = 3) -> Recorded:
    """Returns runs of arms that are right on so many texts fewer than 800, and that cost so much, on 1,000 texts. All
    runs differ on a few more texts."""
    base = np.zeros(TEXTS)
    base[:800] = 1
    return Recorded(
        {
            arm: {
                block: Ran(flipped(base, lost, swapped, 10 * number + block), cost, cost, 1000.0 * block + 10 * number)
                for block in range(blocks)
            }
            for number, (arm, (lost, cost)) in enumerate(arms.items())
        }
    )


def without(runs: Recorded, arm: str, *blocks: int) -> Recorded:
    left = {block: run for block, run in runs.arms[arm].items() if block not in blocks}
    return Recorded({**runs.arms, arm: left}, runs.folds)


def played(runs: Recorded, rules: Rules) -> Race:
    return next(race for block in range(1, rules.blocks + 1) if (race := replay(runs, rules, block)).end)


def left(race: Race) -> dict[str, tuple[int, str, str | None]]:
    return {one.arm: (one.block, one.reason, one.other) for one in race.exits}


def test_what_is_worse_or_dearer_leaves_after_two_blocks() -> None:
    runs = recorded({"none": (0, 100.0), "bottom": (2, 50.0), "all": (90, 10.0)})
    race = played(runs, CHEAPEST)
    assert left(race) == {"all": (2, "worse", "none"), "none": (2, "dearer", "bottom")}
    assert (race.chosen, race.end, race.settled, len(race.looks)) == ("bottom", "one left", True, 2)
    assert race.loss is not None
    assert 0.002 <= race.loss <= 0.02
    assert (race.seconds, race.full_seconds) == (2 * 160, 5 * 160)


def timed(runs: Recorded, **seconds: Sequence[float]) -> Recorded:
    """Returns the same runs with other costs, by block."""
    arms = {
        arm: {block: replace(ran, cost=seconds[arm][block]) for block, ran in own.items()}
        for arm, own in runs.arms.items()
    }
    return Recorded(arms)


ABOUT_10 = (10.0, 10.2, 9.9, 10.1, 10.0)


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ((9.9, 10.0, 9.8, 10.0, 9.9), "high"),  # in every block, but by 1%
        ((7.0, 10.3, 7.0, 7.0, 7.0), "high"),  # by far, but not in every block
        ((9.4, 9.6, 9.3, 9.5, 9.4), "low"),  # by 6% in every block
    ],
)
def test_arms_that_are_about_as_dear_are_told_apart_by_their_scores(other: Sequence[float], stays: str) -> None:
    runs = recorded({"high": (0, 1.0), "low": (2, 1.0), "all": (90, 1.0)})
    runs = timed(runs, high=ABOUT_10, low=other, all=(1.0,) * 5)
    race = played(runs, CHEAPEST)
    assert (race.chosen, len(race.looks)) == (stays, 2)
    assert left(race)["low" if stays == "high" else "high"] == (2, "dearer", stays)
    assert levels(runs, ["high", "low"], "parameters")["high"] > levels(runs, ["low"], "parameters")["low"]


def test_arms_cost_what_the_cheapest_of_those_about_as_dear_costs() -> None:
    runs = recorded({arm: (0, cost) for arm, cost in (("a", 100.0), ("b", 103.0), ("c", 106.0), ("d", 200.0))})
    assert levels(runs, runs.names, "time") == {"a": 100.0, "b": 100.0, "c": 106.0, "d": 200.0}
    assert levels(runs, runs.names, "inference") == {"a": 100.0, "b": 103.0, "c": 106.0, "d": 200.0}
    apart = Recorded({"a": {0: runs.arms["a"][0]}, "c": {1: runs.arms["c"][1]}, "d": {1: runs.arms["d"][1]}})
    assert levels(apart, apart.names, "memory") == {"a": 100.0, "c": 106.0, "d": 200.0}


def test_the_best_is_chosen_whatever_it_costs() -> None:
    runs = recorded({"none": (0, 100.0), "bottom": (40, 50.0), "all": (90, 10.0)})
    race = played(runs, BEST)
    assert (race.chosen, race.end) == ("none", "one left")
    assert left(race) == {"bottom": (2, "worse", "none"), "all": (2, "worse", "none")}


def test_the_best_need_not_be_told_from_what_is_within_the_margin() -> None:
    race = played(recorded({"none": (0, 100.0), "bottom": (1, 50.0), "all": (90, 10.0)}), BEST)
    assert (race.end, race.settled, len(race.looks)) == ("as good as the best", True, 2)
    assert {*race.racing} == {"none", "bottom"}


def test_two_arms_are_compared_from_three_blocks_on() -> None:
    runs = recorded({"none": (0, 100.0), "all": (90, 10.0)})
    assert replay(runs, CHEAPEST, 2).end is None
    assert left(replay(runs, CHEAPEST, 3)) == {"all": (3, "worse", "none")}


@pytest.mark.parametrize("lost", [(0, 1, 2, 3, 4), (1,)])
def test_two_arms_are_compared_from_three_blocks_on_where_others_have_failed(lost: Sequence[int]) -> None:
    runs = without(recorded({"none": (0, 100.0), "all": (90, 10.0), "lost": (0, 150.0)}), "lost", *lost)
    race = replay(runs, CHEAPEST, 2)
    assert (race.end, race.looks[-1].behind.get("all")) == (None, None)
    assert left(replay(runs, CHEAPEST, 3))["all"] == (3, "worse", "none")


def test_arms_with_the_same_predictions_are_equal() -> None:
    runs = recorded({"none": (0, 100.0), "same": (0, 100.0), "all": (90, 10.0)})
    runs = Recorded({**runs.arms, "same": runs.arms["none"]})
    race = played(runs, CHEAPEST)
    assert left(race)["same"] == (2, "dearer", "none")  # at equal cost the first one stays
    assert race.chosen == "none"
    assert race.loss is not None
    assert -math.log(0.05) / TEXTS <= race.loss <= 0.01  # as much may differ, and these texts not show it


def test_few_texts_that_show_no_difference_do_not_show_that_there_is_none() -> None:
    # Where "all" is right on 97 of 100 texts, it is right on all of 30 texts in two of five races.
    costs = {"none": 9.0, "bottom": 5.0, "all": 1.0}
    arms = {arm: {block: Ran(np.ones(30), cost, cost, 0.0) for block in range(5)} for arm, cost in costs.items()}
    race = played(Recorded(arms), replace(CHEAPEST, margin=0.01))
    assert (race.exits, race.settled, race.chosen) == ([], False, "all")
    assert race.loss is not None
    assert race.loss >= -math.log(0.05) / 30


@pytest.mark.parametrize("p", [0.05, 0.01, 0.001, 0.0001])
def test_what_no_text_shows_is_at_most_what_texts_seldom_fail_to_show(p: float) -> None:
    runs = recorded({"none": (0, 1.0), "same": (0, 1.0), "all": (90, 1.0)})
    runs = Recorded({**runs.arms, "same": runs.arms["none"]})
    found = all_pairs(runs, runs.names, 5, 5, both_ways=False).estimate("none", "same")
    assert found is not None
    assert (1 - found.interval(1 - p, sides=1).high) ** TEXTS <= p


def test_a_race_ends_where_more_blocks_would_not_answer_it() -> None:
    # Texts decide: every run of an arm is right on the same texts, and the arms differ on many.
    base = (np.random.default_rng(0).random((3, TEXTS)) < 0.8).astype(float)
    arms = {str(arm): {b: Ran(flipped(base[arm], 0, 2, b), 1.0, 1.0, 0.0) for b in range(5)} for arm in range(3)}
    race = played(Recorded(arms), replace(CHEAPEST, margin=0.001))
    assert (race.end, len(race.looks), race.exits, race.needed) == ("hopeless", 2, [], None)
    assert race.texts is not None
    assert race.texts > 10 * TEXTS
    assert race.chosen == max(arms, key=lambda arm: np.mean([run.score for run in arms[arm].values() if run]))


def test_a_race_goes_on_where_more_blocks_are_expected_to_answer_it() -> None:
    random = np.random.default_rng(3)  # runs differ on many texts, arms do not
    base = np.zeros(TEXTS)
    base[:800] = 1
    arms = {
        arm: {b: Ran(flipped(base, 0, 40, int(random.integers(1_000_000))), cost, cost, 0.0) for b in range(10)}
        for arm, cost in (("none", 2.0), ("all", 1.0), ("top", 3.0))
    }
    race = played(Recorded(arms), Rules(0.02, "cheapest", 10))
    assert len(race.looks) > 2
    assert (race.end, race.chosen) == ("one left", "all")


def test_the_budget_ends_a_race_before_the_block_that_would_exceed_it() -> None:
    runs = recorded({"none": (0, 100.0), "top": (21, 90.0), "bottom": (19, 50.0)}, swapped=60)
    rules = replace(CHEAPEST, budget=10_000.0)
    assert replay(runs, rules, 1).end is None
    assert replay(runs, replace(rules, budget=1.0), 1).end == "budget"
    assert seconds_running(runs.until(1).runs) < 240  # side by side


def test_what_the_first_block_encodes_for_all_is_not_expected_of_the_others() -> None:
    runs = recorded({"none": (0, 100.0), "top": (21, 90.0), "bottom": (19, 50.0)}, swapped=60)
    first = replace(runs.arms["bottom"][0], seconds=1050.0, encoding=1000.0, end=1020.0)
    runs = Recorded({**runs.arms, "bottom": {**runs.arms["bottom"], 0: first}})
    race = replay(runs, replace(CHEAPEST, budget=2_000.0), 1)
    assert (race.end, race.seconds, race.full_seconds) == (None, 1_240, 1_000 + 5 * 240)


def test_pauses_and_runs_side_by_side() -> None:
    runs = [Ran(np.ones(1), 1.0, 10.0, end) for end in (10.0, 15.0, 100.0)]
    assert seconds_running(runs) == 25.0


def test_a_failed_run_costs_its_arm_that_block() -> None:
    runs = recorded({"none": (0, 100.0), "bottom": (2, 50.0), "all": (90, 10.0)})
    race = played(without(runs, "bottom", 0), CHEAPEST)
    assert left(race)["all"] == (3, "worse", "none")  # after two blocks, two arms have both of them
    assert left(race)["none"] == (3, "dearer", "bottom")
    assert race.chosen == "bottom"


def test_an_arm_whose_runs_all_fail_leaves() -> None:
    runs = without(recorded({"none": (0, 100.0), "bottom": (2, 50.0), "all": (90, 10.0)}), "bottom", 0, 1, 2, 3, 4)
    race = played(runs, CHEAPEST)
    assert left(race) == {"bottom": (2, "failed", None), "all": (3, "worse", "none")}
    assert race.chosen == "none"


def test_a_race_without_any_result_ends_at_once() -> None:
    race = replay(Recorded({"none": {}, "all": {}}), CHEAPEST, 1)
    assert (race.end, race.chosen) == ("nothing finished", None)


@pytest.mark.parametrize("blocks", range(1, 6))
def test_later_runs_do_not_change_what_was_decided(blocks: int) -> None:
    arms = Population((0.8, 0.79, 0.77, 0.72), 0.16, 0.06, 0.004).draw(5, 600, np.random.default_rng(4))[0]
    runs = Recorded({f"{a}": {b: Ran(arms[a, b].astype(float), a, 1.0, 0.0) for b in range(5)} for a in range(4)})
    early, late = replay(runs.until(blocks), CHEAPEST, blocks), replay(runs, CHEAPEST, 5)
    assert replay(runs, CHEAPEST, blocks) == early
    decided = [one for one in late.exits if one.block <= blocks]
    assert {one.arm for one in decided} <= {one.arm for one in early.exits}  # more of them at the last look
    assert early.end or early.exits == decided


def test_the_order_of_arms_changes_nothing() -> None:
    runs = recorded({"none": (0, 100.0), "top": (9, 80.0), "bottom": (12, 50.0), "all": (90, 10.0)})
    found = [played(Recorded(dict(order)), CHEAPEST) for order in itertools.permutations(runs.arms.items())]
    assert len({race.chosen for race in found}) == 1
    assert all({*left(race).items()} == {*left(found[0]).items()} for race in found)


def standing(means: Mapping[str, float], known: Known, costs: Mapping[str, float]) -> list[str]:
    """Returns who stays if the scores are known almost exactly."""
    pairs = {(a, b): Estimate(means[a] - means[b], 1e-6, 1e9) for a, b in itertools.combinations(means, 2)}
    differences = Differences(pairs, 0.05, 3)
    known.add(differences, list(means))
    return leave(known, Standing(means, costs, differences), CHEAPEST, 2)


def test_no_arm_is_replaced_by_one_that_leaves() -> None:
    costs = {"a": 3.0, "b": 2.0, "c": 1.0}
    assert standing({"a": 0.83, "b": 0.815, "c": 0.80}, Known(), costs) == ["b"]  # c is worse than a, b is not


def test_losses_do_not_add_up_over_looks() -> None:
    known, costs = Known(), {"a": 3.0, "b": 2.0, "c": 1.0}
    pairs = Differences({("a", "c"): Estimate(0.03, 0.005, 1e9)}, 0.05, 3)
    known.add(pairs, ["a", "c"])  # a may be above c by more than the margin
    assert standing({"a": 0.83, "b": 0.82}, known, costs) == ["b"]
    assert standing({"b": 0.82, "c": 0.81}, known, costs) == ["b", "c"]  # c is as good as b, but not as a
    assert standing({"b": 0.82, "c": 0.81}, Known(), costs) == ["c"]


def test_folds_are_judged_by_the_corrected_resampled_t() -> None:
    def run(value: float, cost: float = 1.0) -> Ran:
        return Ran(np.array([value]), cost, 1.0, 0.0)

    noise: Sequence[float] = np.random.default_rng(6).normal(scale=0.01, size=15).tolist()
    arms = {
        "none": {b: run(0.8) for b in range(15)},
        "all": {b: run(0.5 + noise[b], 0.1) for b in range(15)},
        "top": {b: run(0.8 - 0.001 * noise[b]) for b in range(15)},
    }
    race = played(Recorded(arms, folds=5), Rules(0.02, "cheapest", 15))
    assert left(race)["all"][1:] == ("worse", "none")
    assert race.folds == 5


def test_equal_arms_are_seldom_excluded() -> None:
    random, wrong = np.random.default_rng(7), 0
    for _ in range(40):
        right = Population(equal(0.8, 3), 0.16, 0.08, 0.005).draw(4, 300, random)[0].astype(float)
        arms = {str(a): {b: Ran(right[a, b], a, 1.0, 0.0) for b in range(4)} for a in range(3)}
        race = replay(Recorded(arms), Rules(0.0, "cheapest", 4), 4)
        wrong += any(one.reason == "worse" for one in race.exits)
    assert wrong <= 5  # of 40 with at most 5% each: more in one of 300 such tests


@pytest.mark.parametrize(("rules", "bounds"), [(BEST, 6), (replace(CHEAPEST, margin=0.0), 6), (CHEAPEST, 3)])
def test_both_bounds_of_a_pair_count_where_both_may_be_false_claims(rules: Rules, bounds: int) -> None:
    runs = recorded({"none": (0, 100.0), "bottom": (2, 50.0), "all": (90, 10.0)})
    found = all_pairs(runs, runs.names, 2, rules.blocks, rules.both_ways)
    estimate, interval = found.estimate("none", "bottom"), found.interval("none", "bottom")
    assert estimate is not None
    assert interval is not None
    assert interval.high - interval.value == pytest.approx(estimate.half_width(1 - found.alpha / bounds, sides=1))


def wrongly_left(rules: Rules, count: int) -> int:
    """Returns in how many of so many races of two equal arms, whose seeds hardly differ, an arm leaves."""
    random, wrong, population = np.random.default_rng(2), 0, Population(equal(0.8, 2), 0.16, 0.02, 0.0)
    for _ in range(count):
        right = population.draw(5, 200, random)[0].astype(float)
        arms = {str(a): {b: Ran(right[a, b], a, 1.0, 0.0) for b in range(5)} for a in range(2)}
        wrong += any(one.reason == "worse" for one in replay(Recorded(arms), rules, 5).exits)
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("rules", [Rules(0.01, "best", 5), Rules(0.0, "cheapest", 5), Rules(0.01, "cheapest", 5)])
def test_neither_of_two_equal_arms_leaves_in_95_of_100_races(rules: Rules) -> None:
    assert wrongly_left(rules, 400) <= 400 * (0.05 + 3 * math.sqrt(0.05 * 0.95 / 400))


def test_trials_take_time_but_are_no_evidence() -> None:
    runs = recorded({"none": (0, 100.0), "bottom": (2, 50.0), "all": (90, 10.0)})
    lucky = {"lr=1": Ran(np.ones(1), 100.0, 400.0, 0.0), "lr=2": None}
    tuned = replace(runs, trials={"all": lucky})
    race, plain = played(tuned, CHEAPEST), played(runs, CHEAPEST)
    scores: dict[str, float | None] = {"lr=1": 1.0, "lr=2": None}
    assert race == replace(plain, seconds=plain.seconds + 400, tuning={"all": scores}, tuning_seconds=400)
    rules = replace(CHEAPEST, budget=500.0)
    assert replay(runs, rules, 1).end is None
    assert replay(tuned, rules, 1).end == "budget"


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"a": 0.7, "b": 0.8}, "b"), ({"a": 0.8, "b": 0.8}, "a"), ({"a": None, "b": 0.1}, "b"), ({"a": None}, None)],
)
def test_the_best_trial_is_chosen_the_first_of_equal_ones(found: dict[str, float | None], expected: str | None) -> None:
    assert best(found) == expected
