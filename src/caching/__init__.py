"""Runs the frozen prefix once per text, and lets training continue from the activation store."""

__all__ = [
    "costs",
    "encoding",
    "flops",
    "use_store",
]
