"""Builds the parts of one training and fits them: inputs, network, trainer, loggers."""

__all__ = [
    "build",
    "clock",
    "devices",
    "effects",
    "fit",
    "inputs",
    "libraries",
    "loggers",
    "parts",
    "run_log",
    "threads",
    "trainer",
]
