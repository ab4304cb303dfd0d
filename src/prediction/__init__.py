"""A finished run as a function of texts, and of files of texts."""

__all__ = [
    "label_file",
    "predictor",
]
