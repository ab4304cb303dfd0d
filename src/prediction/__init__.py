"""Predictions of a finished run for texts and for files of texts."""

__all__ = [
    "label_file",
    "predictor",
    "progress",
    "trained_config",
]
