"""Compares finished runs: groups them, tests their differences, and shows scores against costs."""

__all__ = [
    "comparable",
    "compare_runs",
    "comparison",
    "decision",
    "differences",
    "evidence",
    "groups",
    "learning_curves",
    "pages",
    "plots",
    "rows",
    "runs",
    "settling",
    "summary",
    "tables",
    "verdicts",
]
