"""Multiruns: one process per job, one folder per sweep."""

__all__ = [
    "checking",
    "combinations",
    "folders",
    "jobs",
    "mistakes",
    "multirun",
    "processes",
    "progress",
    "racing",
    "recorded",
    "search",
    "sharing",
    "starting",
    "template",
]
