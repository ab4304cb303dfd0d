"""Builds and runs one training: trainer, phases, audit, checkpoints."""

__all__ = [
    "audit",
    "build",
    "callbacks",
    "clock",
    "divergence",
    "effects",
    "ending",
    "fit",
    "inputs",
    "libraries",
    "loggers",
    "parts",
    "phases",
    "provenance",
    "run_log",
    "saving",
    "tables",
    "trainer",
]
