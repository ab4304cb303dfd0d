"""Counts, times and lists in words."""

from __future__ import annotations

import pytest

from src.config.wording import brief_duration, counted, duration, joined, rounded


@pytest.mark.parametrize(
    ("seconds", "sentence", "table"),
    [
        (0.44, "0 seconds", "0.4 s"),
        (1.2, "1 second", "1.2 s"),
        (61.2, "61 seconds", "61 s"),
        (119.0, "119 seconds", "119 s"),
        (240.0, "4 minutes", "240 s"),
        (780.0, "13 minutes", "13 min"),
        (86_000.0, "1,433 minutes", "1,433 min"),
        (216_000.0, "3,600 minutes", "2.5 days"),
    ],
)
def test_times(seconds: float, sentence: str, table: str) -> None:
    assert (duration(seconds), brief_duration(seconds)) == (sentence, table)


def test_counts_and_lists() -> None:
    assert [counted(count, "text") for count in (0, 1, 2000)] == ["0 texts", "1 text", "2,000 texts"]
    assert [rounded(count) for count in (7, 1249, 184_000)] == ["7", "1,200", "180,000"]
    assert [joined(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
