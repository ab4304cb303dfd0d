"""Reading and writing safely: whole files, locks, paths, the hub, and which process writes."""

__all__ = [
    "atomic",
    "digests",
    "hub",
    "locks",
    "paths",
    "ranks",
]
