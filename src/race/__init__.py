"""A race of strategies: which are left after each block of runs, and when it ends; from recorded scores alone."""

__all__ = [
    "costs",
    "differences",
    "plots",
    "record",
    "recorded",
    "replay",
    "rules",
    "tuning",
    "words",
]
