"""Starts a sweep: looks for mistakes before its first job, and counts its jobs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from src.errors import UserError
from src.files.told import TOLD
from src.grouping.runs import has_effect
from src.sweeps.folders import WARNINGS
from src.sweeps.mistakes import refuse_mistakes
from src.sweeps.progress import begin_counting
from src.sweeps.search import check_direction


def begin_sweep(config: DictConfig) -> None:
    """Puts the number of jobs and the start time into the environment, so that jobs of any launcher can print progress,
    and where they find what others have told.

    Args:
        config: of the multirun, before it is split into jobs.

    Raises:
        UserError: a search would look for the worst value of the monitored metric, a swept key has no values or makes
            no difference, or no job could start, with any value or with one of them.
    """
    check_direction(config)
    sweeper, loader = config.hydra.sweeper, GlobalHydra.instance().config_loader()
    given = _given(config, loader)
    jobs = int(sweeper.n_trials) if "n_trials" in sweeper else _count(given)
    refuse_mistakes(config, given, loader)
    begin_counting(jobs)
    warnings = (Path(config.hydra.sweep.dir) / WARNINGS).resolve()
    warnings.unlink(missing_ok=True)
    os.environ[TOLD] = str(warnings)


def _given(config: DictConfig, loader: Any) -> list[Override]:
    """Returns the overrides of the sweep and, on top, of the command, one per key."""
    values = {key: f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()}
    values |= {override.partition("=")[0]: override for override in config.hydra.overrides.task}
    return OverridesParser.create(loader).parse_overrides(list(values.values()))


def _count(given: Sequence[Override]) -> int:
    """Returns the number of combinations of the swept values.

    Raises:
        UserError: a key has no values, or several that make no difference.
    """
    counts = {one.get_key_element(): len(list(one.sweep_iterator())) for one in given if one.is_sweep_override()}
    if empty := [key for key, count in counts.items() if not count]:
        raise UserError(
            f"A sweep needs values to try; there are none for {', '.join(empty)}.\nFor example: -m freeze=none,all"
        )
    if idle := [key for key, count in counts.items() if count > 1 and not has_effect(key)]:
        raise UserError(
            f"Runs of a multirun must differ in what they learn; {', '.join(idle)} does not change that, and runs that "
            "differ in it alone cannot be told apart.\nGive it one value."
        )
    return math.prod(counts.values())
