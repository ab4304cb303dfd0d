"""What one run leaves and shows: result.json, predictions, reports, figures, TensorBoard."""

__all__ = [
    "classification",
    "dashboard",
    "masked",
    "outcome",
    "plots",
    "run",
]
