"""The schema of a config, its validation, and building the objects that it names."""

__all__ = [
    "backbone",
    "data",
    "decision",
    "folder",
    "given_texts",
    "instantiate",
    "length",
    "model",
    "monitor",
    "overrides",
    "quoting",
    "race",
    "reading",
    "schema",
    "sections",
    "text_files",
    "trainer_switches",
    "validation",
    "values",
    "wording",
]
