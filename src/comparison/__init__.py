"""Compares finished runs: groups them, tests their differences, and shows scores against costs."""

__all__ = [
    "compare_runs",
    "comparison",
    "decision",
    "differences",
    "evidence",
    "learning_curves",
    "pages",
    "plots",
    "rows",
    "settling",
    "summary",
    "tables",
    "verdicts",
]
