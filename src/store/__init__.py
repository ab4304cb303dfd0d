"""The activation store on disk."""

__all__ = [
    "entries",
    "store",
]
