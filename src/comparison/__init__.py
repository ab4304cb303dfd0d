"""Compares finished runs: groups them, tests their differences, and shows scores against costs."""

__all__ = [
    "alike",
    "comparison",
    "differences",
    "groups",
    "pages",
    "plots",
    "statistics",
    "tables",
]
