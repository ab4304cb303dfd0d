"""Advice before training: what a head on each layer reaches, what strategies cost, what is odd in the data."""

__all__ = [
    "advice",
    "costs",
    "encoded",
    "encoders",
    "experiments",
    "inputs",
    "label_issues",
    "page",
    "plots",
    "probes",
    "tables",
    "texts",
    "words",
]
