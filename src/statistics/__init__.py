"""Estimates with confidence intervals from seeds and texts, significance tests, multiple comparisons, and planning."""

__all__ = [
    "best",
    "crossed",
    "estimate",
    "intervals",
    "planning",
    "resampled",
    "significance",
]
