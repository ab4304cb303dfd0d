"""The config from which a finished run's network is built again."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, open_dict

from src.runs.folder import RunFolder
from src.runs.pretrain_config import stage_configs


def as_trained(cfg: DictConfig, folder: RunFolder, result: dict[str, Any]) -> DictConfig:
    """Returns a run's config with the backbone that it was trained with.

    Args:
        cfg: as the run has saved it.
        folder: of the run.
        result: content of its result.json.
    """
    if cfg.pretrain:
        cfg = stage_configs(cfg, folder)[1]
    with open_dict(cfg):
        if result["objective"] == "mlm":
            # Its model/ is complete, with merged adapters and trained reinitialised layers.
            cfg.backbone = {"run": str(folder.path), "attention": cfg.backbone.attention, "lr": cfg.backbone.lr}
            cfg.freeze = {"_target_": "src.freezing.Nothing"}
        elif "tokenizer" in cfg.backbone:
            cfg.backbone.tokenizer = str(folder.model)
        elif commit := (result.get("backbone") or {}).get("revision"):
            cfg.backbone.revision = commit  # branches on the hub may have changed since
    return cfg
