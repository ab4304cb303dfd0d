"""Writing as a whole or not at all, locks, paths, the hub, which process writes, and what jobs print once."""

__all__ = [
    "atomic",
    "digests",
    "hub",
    "hub_errors",
    "locks",
    "paths",
    "ranks",
    "staged",
    "told",
]
