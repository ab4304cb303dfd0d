"""The output of a finished run: result.json, predictions, reports, figures, TensorBoard."""

__all__ = [
    "calibration",
    "classification",
    "dashboard",
    "masked",
    "outcome",
    "plots",
    "predictions",
    "regression",
    "run",
    "thresholds",
]
