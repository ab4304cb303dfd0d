"""Searches with Optuna: in which direction they look, and their best values as an experiment."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.config.folder import CONF
from src.config.monitor import best_mode
from src.errors import UserError
from src.files.atomic import write_atomic

DIRECTIONS = {"min": "minimize", "max": "maximize"}


def direction(metric: str) -> str:
    """Returns Optuna's name of the direction in which a metric improves; used in conf/sweep/search.yaml."""
    return DIRECTIONS[best_mode(metric)]


OmegaConf.register_new_resolver("direction", direction, replace=True)


def check_direction(config: DictConfig) -> None:
    """
    Args:
        config: of a multirun, which may be a search.

    Raises:
        UserError: it would look for the worst value of the monitored metric.
    """
    sweeper = config.hydra.sweeper
    chosen = getattr(sweeper.get("direction"), "name", sweeper.get("direction"))
    if chosen in DIRECTIONS.values() and chosen != direction(config.monitor.metric):
        raise UserError(
            f"The direction of a search must match the monitored metric; monitor.metric is {config.monitor.metric}, "
            f"hydra.sweeper.direction is {chosen}.\nChoose sweep=search, which derives it from the metric."
        )


def write_best(folder: Path) -> Path | None:
    """Writes the best values of a search as an experiment: `--config-dir FOLDER experiment=best`.

    Args:
        folder: of a sweep.

    Returns:
        The experiment's file; None if the sweep was not a search.
    """
    file = folder / "optimization_results.yaml"
    found = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else None
    if not isinstance(found, dict) or "best_params" not in found:
        return None
    chosen = {key: value for key, value in found["best_params"].items() if (CONF / key).is_dir()}
    values = [f"{key}={value}" for key, value in found["best_params"].items() if key not in chosen]
    overrides = {"defaults": [{f"override /{key}": value} for key, value in chosen.items()]}
    content = OmegaConf.merge(overrides, OmegaConf.from_dotlist(values))
    best = folder / "experiment" / "best.yaml"
    best.parent.mkdir(exist_ok=True)
    title = f"# @package _global_\n# The best values of a search: {found['best_value']:g}\n"
    write_atomic(best, title + OmegaConf.to_yaml(content))
    return best
