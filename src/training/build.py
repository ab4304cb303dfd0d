"""From a composed config to what a training is made of: checked settings, strategy, module, data.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from src.backbones.loading import enable_checkpointing
from src.backbones.source import Source
from src.config.backbone import Scratch
from src.config.instantiate import build_errors, instantiate
from src.config.length import length
from src.config.model import LinearHead, MaskedLanguageHead
from src.config.monitor import best_mode
from src.config.schema import RunConfig
from src.data.corpus import Corpus
from src.data.texts import parts
from src.freezing.reached_phases import fitted
from src.freezing.strategy import HEAD, Phase, Strategy, depth, trained_in
from src.freezing.whole_stages import Cut
from src.models.build import build_network, stages_and_phases
from src.models.checks import watched_labels
from src.training.devices import check_bf16
from src.training.threads import use_threads

if TYPE_CHECKING:
    from src.datamodules.datamodule import TextDataModule
    from src.modules.freezable import FreezableModule
    from src.modules.optimizing import Optimization

log = logging.getLogger(__name__)


def build(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, source: Source, corpus: Corpus
) -> tuple[FreezableModule, TextDataModule]:
    """The module and its data. The seed also decides everything that is drawn from here on.

    Raises:
        UserError: the weights, the tokenizer, the strategy or the precision cannot be used.
    """
    import pytorch_lightning as pl
    import torch

    from src.datamodules.datamodule import LabelledDataModule, MaskedDataModule
    from src.modules.classifier import TextClassifier
    from src.modules.losses import Loss
    from src.modules.masked_language_model import MaskedLanguageModel

    use_threads(settings.trainer)
    check_bf16(settings)
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    texts = [part for text in corpus.splits["train"].texts for part in parts(text)]
    encoder, head, tokenizer = build_network(cfg, settings, strategy, source, corpus.space.outputs, texts)
    if settings.trainer.gradient_checkpointing:
        enable_checkpointing(encoder)
    stages, phases = stages_and_phases(encoder, head, strategy)
    phases = fitted(phases, settings.trainer.max_epochs)
    if isinstance(settings.backbone, Scratch) and depth(stages, phases):
        log.warning("The backbone starts from random weights, and freeze=%s leaves some as they are.", strategy.name)
    _warn_of_pooler(settings, strategy, source)
    network = (encoder, head, stages, phases, _optimization(cfg, settings, phases))
    data = (corpus, tokenizer, settings.data, settings.seed, Path(settings.cache))
    if isinstance(settings.model, MaskedLanguageHead):
        return _checked(MaskedLanguageModel(*network)), MaskedDataModule(*data, settings.model.masking)
    datamodule = LabelledDataModule(*data)
    weights = datamodule.label_weights if corpus.space.objective == "multilabel" else None
    terms = None if weights is None else torch.from_numpy(weights)
    loss = Loss(
        corpus.space, settings.model.label_smoothing or 0.0, settings.model.gamma, settings.model.loss == "huber"
    )
    windows = settings.pooled_windows or "mean"
    module = TextClassifier(*network, corpus.space, watched_labels(settings), loss, terms, windows)
    return _checked(module), datamodule


def _warn_of_pooler(settings: RunConfig, strategy: Strategy, source: Source) -> None:
    """Warns of a pretrained pooler that gets the states of another layer than in its pretraining."""
    pooled = getattr(settings.model, "pooling", None) == "pooler" and not isinstance(settings.backbone, Scratch)
    if pooled and isinstance(strategy, Cut) and strategy.layers < source.layers:
        log.warning(
            "With freeze=cut the pooler reads the states of layer %d; it was trained on those of layer %d.\n"
            "Rather choose model.pooling=mean or model.pooling=cls.",
            strategy.layers,
            source.layers,
        )


def _checked(module: FreezableModule) -> FreezableModule:
    """The same, after making an optimizer and a schedule for nothing: Lightning makes them when a run has begun."""
    assert module.optimization is not None
    with build_errors("optimizer"):
        optimizer = module.optimization.optimizer(module)
    with build_errors("scheduler"):
        module.optimization.scheduler(optimizer, 10)
    return module


def _optimization(cfg: DictConfig, settings: RunConfig, phases: Sequence[Phase]) -> Optimization:
    """How optimizer and schedule are built, once the number of steps is known."""
    import torch

    from src.modules import optimizers
    from src.modules.optimizing import Optimization

    chosen, schedule = settings.optimizer, settings.scheduler
    alone = all(name.startswith(f"{HEAD}.") for name in trained_in(phases))
    head_lr = optimizers.head_rate(chosen, isinstance(settings.model, LinearHead) and alone)

    def optimizer(module: FreezableModule) -> torch.optim.Optimizer:
        return optimizers.build_optimizer(cfg.optimizer, head_lr, settings.trainer.precision, module)

    def scheduler(built: torch.optim.Optimizer, moves: int) -> Any:
        known = {"mode": best_mode(schedule.monitor or "")} if schedule.is_plateau else {"steps": moves}
        return instantiate(cfg.scheduler.schedule, "scheduler", **known)(built)

    return Optimization(
        optimizer,
        scheduler,
        lambda batches: length(settings.trainer, batches),
        schedule.interval,
        schedule.monitor,
        chosen.lr,
        head_lr,
        chosen.thaw_warmup,
    )
