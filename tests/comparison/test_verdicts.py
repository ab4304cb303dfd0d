"""Verdicts on intervals, by hand."""

from __future__ import annotations

import pytest

from src.comparison.verdicts import verdict
from src.statistics.intervals import Interval


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
    assert verdict(found, 0.01, 3, "seeds and texts") == wanted
    assert verdict(found, 0.01, 6, "seeds") == wanted
    assert verdict(found, 0.01, 5, "seeds") == "descriptive only: 5 of 6 seeds"
    assert verdict(None, 0.01, 3, "seeds and texts") == "inconclusive"
