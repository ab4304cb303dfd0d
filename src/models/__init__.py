"""The network: backbone, heads, adapters, and the frozen prefix."""

__all__ = [
    "adapters",
    "build",
    "checks",
    "frozen_prefix",
    "heads",
    "imports",
    "inference",
    "masked_language",
    "networks",
    "windows",
]
