"""Compares finished runs: groups them, tests their differences, and shows scores against costs."""

__all__ = [
    "comparable",
    "comparison",
    "differences",
    "groups",
    "pages",
    "plots",
    "statistics",
    "summary",
    "tables",
]
