"""Thresholds against all others."""

from __future__ import annotations

import numpy as np
import pytest

from src.config.decision import Costs, Rule
from src.statistics.thresholds import Criterion, best_threshold

COSTS = Costs(false_positive=1, false_negative=5)
RULES: tuple[Rule, ...] = ("f1", "youden", "cost")


def worth(rule: Rule, truth: np.ndarray, said: np.ndarray) -> float:
    """What decisions are worth, counted by hand."""
    hits, wrong, missed = (truth & said).sum(), (~truth & said).sum(), (truth & ~said).sum()
    if rule == "f1":
        return float(2 * hits / (2 * hits + wrong + missed))
    if rule == "youden":
        return float(hits / truth.sum() + (~truth & ~said).sum() / (~truth).sum() - 1)
    return float(-(wrong + 5 * missed) / len(truth))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decimals", [1, 6], ids=["ties", "all different"])
def test_a_threshold_is_the_best_of_all(rule: Rule, decimals: int) -> None:
    random, criterion = np.random.default_rng(0), Criterion(rule, COSTS)
    for share in (0.1, 0.5, 0.9):
        for _ in range(20):
            truth = random.random(30) < share
            truth[:2] = (True, False)
            probs = np.clip(0.3 * truth + 0.7 * random.random(30), 0, 1).round(decimals).astype(np.float32)
            found = best_threshold(probs, truth, criterion)
            best = max(worth(rule, truth, probs >= limit) for limit in [*probs, np.float32(2)])
            assert worth(rule, truth, probs >= np.float32(found)) == pytest.approx(best)
            assert criterion.of(probs, truth, found) == pytest.approx(best)


@pytest.mark.parametrize("rule", RULES)
def test_a_perfect_model_has_its_threshold_between_the_labels(rule: Rule) -> None:
    probs, truth = np.array([0.2, 0.9, 0.4, 0.8], dtype=np.float32), np.array([False, True, False, True])
    assert best_threshold(probs, truth, Criterion(rule, COSTS)) == pytest.approx(0.6)


@pytest.mark.parametrize(("rule", "fallback"), [("f1", 0.5), ("youden", 0.5), ("cost", 1 / 6)])
@pytest.mark.parametrize("truth", [[True] * 3, [False] * 3], ids=["all", "none"])
def test_without_both_kinds_of_texts_the_threshold_is_the_fallback(
    rule: Rule, fallback: float, truth: list[bool]
) -> None:
    probs = np.array([0.2, 0.4, 0.9], dtype=np.float32)
    assert best_threshold(probs, np.array(truth), Criterion(rule, COSTS)) == pytest.approx(fallback)
    assert best_threshold(np.full(3, 0.7), np.array([True, False, True]), Criterion(rule, COSTS)) == pytest.approx(
        fallback
    )


def test_neighbouring_numbers_are_told_apart() -> None:
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    found = best_threshold(np.array([low, high]), np.array([False, True]), Criterion("f1", COSTS))
    assert low < np.float32(found) <= high


def test_where_it_costs_less_nothing_is_predicted() -> None:
    dear = Criterion("cost", Costs(false_positive=100, false_negative=1))
    probs, truth = np.array([1.0, 0.9, 0.1], dtype=np.float32), np.array([False, True, False])
    assert not (probs >= np.float32(best_threshold(probs, truth, dear))).any()


def test_by_cost_calibrated_probabilities_lead_to_the_threshold_of_decision_theory() -> None:
    random = np.random.default_rng(0)
    probs = random.random(200_000)
    found = best_threshold(probs, random.random(200_000) < probs, Criterion("cost", COSTS))
    assert found == pytest.approx(1 / 6, abs=0.02)
