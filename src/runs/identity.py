"""A hash that is equal for configs of the same run."""

from __future__ import annotations

import hashlib
import json

from omegaconf import DictConfig, OmegaConf

from src.files.atomic import without_nulls
from src.runs import saved_config

IGNORED = ("run", "resume", "cache", "sweep", "race")  # keys that do not change what a run computes


def config_hash(config: DictConfig) -> str:
    """Returns a hash that is equal for configs of the same run. Keys without a value are left out, so that the hash of
    a run stays the same when a later version adds a key."""
    written = saved_config.as_read(saved_config.as_written(config))
    ignored = {key: None for key in IGNORED if key in written}
    content = OmegaConf.to_container(OmegaConf.merge(written, ignored), resolve=True)
    return hashlib.sha256(json.dumps(without_nulls(content), sort_keys=True).encode()).hexdigest()[:16]
