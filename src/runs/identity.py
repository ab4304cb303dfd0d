"""A hash that is equal for configs of the same run."""

from __future__ import annotations

import hashlib
import json

from omegaconf import DictConfig, OmegaConf

from src.files.atomic import without_nulls
from src.runs import saved_config

# Keys that do not change what a run computes.
IGNORED = ("run", "resume", "cache", "sweep", "race", "trainer.threads")


def config_hash(config: DictConfig) -> str:
    """Returns a hash that is equal for configs of the same run. Keys without a value are left out, so that the hash of
    a run stays the same when a later version adds a key."""
    written = saved_config.as_read(saved_config.as_written(config))
    ignored = OmegaConf.from_dotlist([f"{key}=null" for key in IGNORED if OmegaConf.select(written, key) is not None])
    content = OmegaConf.to_container(OmegaConf.merge(written, ignored), resolve=True)
    return hashlib.sha256(json.dumps(without_nulls(content), sort_keys=True).encode()).hexdigest()[:16]
