"""Multiruns: one process per job, one folder per sweep."""

__all__ = [
    "folders",
    "jobs",
    "multirun",
    "racing",
    "recorded",
    "sharing",
]
