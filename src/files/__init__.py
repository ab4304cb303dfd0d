"""Writing as a whole or not at all, locks, paths, the Hugging Face hub, and which process writes."""

__all__ = [
    "atomic",
    "digests",
    "hub",
    "hub_errors",
    "locks",
    "paths",
    "ranks",
    "staged",
]
