"""Turns tables into checked texts and labels in three splits."""

__all__ = [
    "corpus",
    "cuts",
    "folds",
    "label_columns",
    "label_matching",
    "label_task",
    "label_values",
    "label_vectors",
    "labels",
    "split",
    "stratify",
    "target_values",
    "texts",
]
