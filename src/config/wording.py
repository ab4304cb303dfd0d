"""Counts, times and lists as sentences and tables have them."""

from __future__ import annotations

from collections.abc import Sequence

MINUTES, LONG, DAY = 120, 600, 86_400  # seconds from which sentences have minutes, tables have minutes, and days


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun, such as `1 text` or `2,000 texts`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def rounded(count: float) -> str:
    """Returns a number with two significant digits, such as `1,200`."""
    return f"{float(f'{count:.2g}'):,.0f}"


def duration(seconds: float) -> str:
    """Returns a time as part of a sentence, such as `45 seconds` or `8 minutes`."""
    return counted(round(seconds), "second") if seconds < MINUTES else counted(round(seconds / 60), "minute")


def brief_duration(seconds: float) -> str:
    """Returns a time for a table, exact enough to compare, such as `0.4 s`, `102 s`, `15 min` or `2.5 days`."""
    if 0 < seconds < 0.05:
        return "under 0.1 s"
    if seconds < LONG:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    return f"{seconds / 60:,.0f} min" if seconds < DAY else f"{seconds / DAY:,.1f} days"


def joined(names: Sequence[str]) -> str:
    """Returns names as part of a sentence, such as `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
