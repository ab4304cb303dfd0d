"""Whether a job of a multirun could start, as far as that is known before: its config, and where it runs on this
machine, its backbone and data."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.config.data import Data
from src.config.validation import check_references
from src.data import corpus as corpora
from src.data.corpus import Corpus
from src.errors import UserError
from src.models.checks import check_both, read_training
from src.runs import pretrain_config
from src.runs.folder import RunFolder
from src.runs.moved_names import with_current_names
from src.runs.new_folder import as_hydras
from src.sweeps.combinations import key_of, race_of, suited
from src.sweeps.sharing import is_launcher
from src.training.inputs import read_inputs


class Checker:
    """Checks jobs of one multirun.

    Args:
        config: of the multirun, before it is split into jobs.
        loader: Hydra's.
    """

    def __init__(self, config: DictConfig, loader: Any) -> None:
        self.config, self.loader = config, loader
        self.here = is_launcher(config.hydra, "BasicLauncher", "JoblibLauncher", "LocalLauncher")
        self._last: dict[str, Corpus] = {}

    def problem(self, overrides: Sequence[str]) -> str | None:
        """Returns why a job could not start; None if it could.

        Raises:
            HydraException: its config cannot be composed, so that Hydra would not begin the multirun.
        """
        cfg = self._composed([*overrides])
        try:
            self._check(cfg)
        except UserError as error:
            return str(error)
        except OmegaConfBaseException:  # what it refers to may be known only when it runs
            return None
        return None

    def _composed(self, overrides: list[str]) -> DictConfig:
        """Returns the config of a job, in a race with what suits its strategy."""
        cfg: DictConfig = self.loader.load_sweep_config(self.config, overrides)
        if race := race_of(self.config):
            training, _ = suited(race, cfg.hydra.runtime.choices.freeze, {key_of(one) for one in overrides})
            cfg = self.loader.load_sweep_config(self.config, [*overrides, *training]) if training else cfg
        return cfg

    def _check(self, cfg: DictConfig) -> None:
        """
        Args:
            cfg: of a job, with Hydra's section.

        Raises:
            UserError: it could not start.
        """
        with open_dict(cfg):
            cfg.hydra.job.id, cfg.hydra.job.num = "0", 0
        with _alone(cfg):
            cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
            check_references(cfg)
            cfg = with_current_names(cfg)
            if cfg.pretrain:
                first, second = pretrain_config.stage_configs(cfg, RunFolder(Path(cfg.run)))
                if self.here:
                    check_both(first, second, self._load)
                else:
                    read_training(first)
                    read_training(second)
            elif self.here:
                read_inputs(cfg, load=self._load)
            else:
                read_training(cfg)

    def _load(self, data: Data, masked: bool = False) -> Corpus:
        """Returns the data of a job, which is not read again if the job before had the same."""
        key = f"{data!r} {masked}"
        if key not in self._last:
            self._last.clear()
            self._last[key] = corpora.load(data, masked)
        return self._last[key]


@contextlib.contextmanager
def _alone(cfg: DictConfig) -> Iterator[None]:
    """Lets references to Hydra's section be those of a job, and leaves what is logged to the jobs, which say it too."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with as_hydras(cfg):
            yield
    finally:
        logging.disable(level)
