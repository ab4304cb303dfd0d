"""Freezing strategies: which parameters of a network train, and when. Pure: they know names, not models."""

from src.freezing.multi_phase import Chain, Gradual, LpFt
from src.freezing.parameter_efficient import Biases, Lora, Mix, Norms, Peft
from src.freezing.strategy import Phase, Stage, Strategy
from src.freezing.whole_stages import Bottom, Cut, Embeddings, Everything, Nothing, Pattern, Surgical, Top

__all__ = [
    "Biases",
    "Bottom",
    "Chain",
    "Cut",
    "Embeddings",
    "Everything",
    "Gradual",
    "Lora",
    "LpFt",
    "Mix",
    "Norms",
    "Nothing",
    "Pattern",
    "Peft",
    "Phase",
    "Stage",
    "Strategy",
    "Surgical",
    "Top",
]
