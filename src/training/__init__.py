"""Builds the parts of one training and fits them: inputs, network, trainer, loggers."""

__all__ = [
    "allocation",
    "build",
    "clock",
    "devices",
    "effects",
    "fit",
    "inputs",
    "libraries",
    "loggers",
    "memory",
    "parts",
    "run_log",
    "threads",
    "trainer",
]
