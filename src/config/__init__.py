"""What a config may hold, and building what its sections name."""

__all__ = [
    "backbone",
    "data",
    "folder",
    "instantiate",
    "length",
    "model",
    "monitor",
    "quoting",
    "schema",
    "sections",
    "trainer_switches",
    "validation",
    "values",
]
