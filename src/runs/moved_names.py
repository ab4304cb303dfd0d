"""What the parts that a config may build were called by earlier versions, and what they are called now."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

HEADS = ("BiLSTMHead", "LinearHead", "MaskedLanguageHead")
SCHEDULES = ("constant", "cosine", "linear", "one_cycle")
STRATEGIES = {"src.sparse": ("Biases", "Lora", "Mix", "Norms"), "src.multiphase": ("Chain", "Gradual", "LpFt")}

MOVED = {
    **{f"src.heads.{name}": f"src.models.heads.{name}" for name in HEADS},
    **{f"src.optim.{name}": f"src.modules.schedules.{name}" for name in SCHEDULES},
    **{f"{module}.{name}": f"src.freezing.{name}" for module, names in STRATEGIES.items() for name in names},
    "src.callbacks.Progress": "src.training.callbacks.Progress",
    "src.phases.LastPhaseStopping": "src.training.phases.LastPhaseStopping",
    "src.saving.Saving": "src.training.saving.Saving",
}


def with_current_names(config: DictConfig) -> DictConfig:
    """The config with each `_target_` under its current name; the config itself where all of them are current."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    renamed = _renamed(content)
    return config if renamed == content else OmegaConf.create(renamed)


def _renamed(node: Any) -> Any:
    if isinstance(node, list):
        return [_renamed(value) for value in node]
    if not isinstance(node, dict):
        return node
    found = {key: _renamed(value) for key, value in node.items()}
    if isinstance(target := found.get("_target_"), str):
        found["_target_"] = MOVED.get(target, target)
    return found
