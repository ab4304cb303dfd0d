"""Arguments of a logger that the config does not have."""

from __future__ import annotations

import re

from omegaconf import DictConfig

from src.freezing.strategy import Strategy


def options(cfg: DictConfig, strategy: Strategy) -> dict[str, str]:
    """Returns arguments of the logger besides those of the config: TensorBoard names runs by folders, and the last
    folder names the strategy and the seed."""
    if not cfg.logger._target_.endswith("TensorBoardLogger"):
        return {}
    return {"sub_dir": f"{re.sub('[^0-9A-Za-z.+-]+', '_', strategy.name)}_seed_{cfg.seed}"}
