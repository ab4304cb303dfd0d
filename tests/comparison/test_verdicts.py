"""Verdicts on intervals, by hand."""

from __future__ import annotations

import pytest

from src.comparison.verdicts import seeds_needed, verdict
from src.statistics.intervals import Interval


def test_seeds_needed_are_the_fewest_that_can_be_significant() -> None:
    assert seeds_needed(1) == 6
    for comparisons in (1, 3, 5, 12):
        seeds = seeds_needed(comparisons)
        assert comparisons * 2 / 2**seeds <= 0.05
        assert seeds == 6 or comparisons * 2 / 2 ** (seeds - 1) > 0.05


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.001, 0.02, "superior"),
        (-0.009, 0.02, "non-inferior"),
        (-0.009, -0.001, "non-inferior"),
        (-0.02, 0.02, "inconclusive"),
        (-0.02, -0.005, "inconclusive"),
        (-0.03, -0.011, "inferior"),
    ],
)
def test_verdicts(low: float, high: float, wanted: str) -> None:
    found = Interval((low + high) / 2, low, high)
    assert verdict(found, 0.01, 3, "seeds and texts", 1) == wanted
    assert verdict(found, 0.01, 6, "seeds", 1) == wanted
    assert verdict(found, 0.01, 5, "seeds", 3) == "descriptive only: 5 of 7 seeds"
    assert verdict(None, 0.01, 3, "seeds and texts", 1) == "inconclusive"
