"""When two configs make the same run."""

from __future__ import annotations

import hashlib
import json

from omegaconf import DictConfig, OmegaConf

from src.files.atomic import filled
from src.runs import saved_config

# What may differ between two runs that are the same otherwise.
PLACES = ("run", "resume", "cache", "sweep")


def config_hash(config: DictConfig) -> str:
    """The same for two configs that would make the same run. Keys without a value do not count, so that runs from
    before there was a key are known again."""
    written = saved_config.as_read(saved_config.as_written(config))
    content = OmegaConf.to_container(OmegaConf.merge(written, dict.fromkeys(PLACES)), resolve=True)
    return hashlib.sha256(json.dumps(filled(content), sort_keys=True).encode()).hexdigest()[:16]
