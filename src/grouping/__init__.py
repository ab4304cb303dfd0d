"""The runs in a folder, groups of those that differ in nothing but the seed, and whether all have the same test."""

__all__ = [
    "comparable",
    "groups",
    "runs",
]
