"""What a logger is told of a run besides its config."""

from __future__ import annotations

import re

from omegaconf import DictConfig

from src.freezing.strategy import Strategy


def options(cfg: DictConfig, strategy: Strategy) -> dict[str, str]:
    """What the logger is told of a run besides its config: TensorBoard calls runs by their folders, and the last of
    them says which strategy the curves are of."""
    if not cfg.logger._target_.endswith("TensorBoardLogger"):
        return {}
    return {"sub_dir": f"{re.sub('[^0-9A-Za-z.+-]+', '_', strategy.name)}_seed_{cfg.seed}"}
