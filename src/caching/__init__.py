"""Runs the frozen prefix once per text, and lets training go on from what the activation store holds."""

__all__ = [
    "all_layers",
    "costs",
    "encoding",
    "flops",
    "use_store",
]
