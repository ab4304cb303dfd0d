"""Atomic file writes, locks, paths, the Hugging Face hub, which process writes, and what jobs print once."""

__all__ = [
    "atomic",
    "digests",
    "hub",
    "hub_errors",
    "locks",
    "paths",
    "ranks",
    "told",
]
