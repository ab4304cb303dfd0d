"""Builds the parts of one training and fits them: inputs, network, trainer, loggers."""

__all__ = [
    "build",
    "clock",
    "effects",
    "fit",
    "inputs",
    "libraries",
    "loggers",
    "parts",
    "run_log",
    "trainer",
]
