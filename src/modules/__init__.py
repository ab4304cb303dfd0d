"""The LightningModules: steps, metrics, optimizers and schedules."""

__all__ = [
    "classification_report",
    "classifier",
    "freezable",
    "losses",
    "masked_language_model",
    "metrics",
    "optimizers",
    "optimizing",
    "schedules",
]
