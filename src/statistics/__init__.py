"""Estimates with confidence intervals from seeds and texts, significance tests, multiple comparisons, and planning."""

__all__ = [
    "areas",
    "best",
    "crossed",
    "estimate",
    "influence",
    "intervals",
    "number_influence",
    "planning",
    "power_law",
    "resampled",
    "ridge",
    "sequential",
    "significance",
    "temperature",
    "thresholds",
    "units",
]
