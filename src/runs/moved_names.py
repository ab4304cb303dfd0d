"""What earlier versions called otherwise in a config: `_target_` names, and the section of a single logger."""

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
    "src.callbacks.Progress": "src.callbacks.progress.Progress",
    "src.training.callbacks.Progress": "src.callbacks.progress.Progress",
    "src.phases.LastPhaseStopping": "src.callbacks.phases.LastPhaseStopping",
    "src.training.phases.LastPhaseStopping": "src.callbacks.phases.LastPhaseStopping",
    "src.saving.Saving": "src.callbacks.saving.Saving",
    "src.training.saving.Saving": "src.callbacks.saving.Saving",
}


LOGGERS = {"TensorBoardLogger": "tensorboard", "CSVLogger": "csv"}


def with_current_names(config: DictConfig) -> DictConfig:
    """Returns the config with current names; the config itself where all are current."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    renamed = _renamed(content)
    logger = renamed.get("logger")
    if isinstance(logger, dict) and "_target_" in logger:  # of a time when there could be only one
        renamed["logger"] = {LOGGERS.get(str(logger["_target_"]).rpartition(".")[2], "logger"): logger}
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
