"""What a training is made from: all that the user gave, checked before PyTorch is imported and weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omegaconf import DictConfig

from src.backbones.source import Source
from src.config.data import Data
from src.config.schema import RunConfig
from src.data import corpus as corpora
from src.data.corpus import Corpus
from src.freezing.strategy import Strategy
from src.models.checks import check_fit, check_task, find_backbone, read_training
from src.training.devices import with_precision


@dataclass(frozen=True)
class Inputs:
    """The config and what it names.

    Args:
        cfg: the whole config.
        settings: the same, typed, and with the precision that `auto` is here.
        strategy: the freezing strategy.
        source: the backbone's files.
        corpus: the texts and labels.
    """

    cfg: DictConfig
    settings: RunConfig
    strategy: Strategy
    source: Source
    corpus: Corpus


def read_inputs(
    cfg: DictConfig, source: Source | None = None, load: Callable[[Data, bool], Corpus] = corpora.load
) -> Inputs:
    """Reads and checks what a config names.

    Args:
        cfg: of a run.
        source: a backbone to take instead of the config's.
        load: reads the data.

    Raises:
        UserError: the config, the strategy, the backbone or the data cannot be used.
    """
    settings, strategy = read_training(cfg)
    settings = with_precision(settings)
    source = source or find_backbone(settings.backbone)
    check_fit(settings, strategy, source)
    corpus = load(settings.data, settings.is_mlm)
    check_task(settings, corpus)
    return Inputs(cfg, settings, strategy, source, corpus)
