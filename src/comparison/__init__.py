"""Compares finished runs: groups them, tests their differences, and shows scores against costs."""

__all__ = [
    "comparable",
    "compare_runs",
    "comparison",
    "differences",
    "groups",
    "pages",
    "plots",
    "statistics",
    "summary",
    "tables",
]
