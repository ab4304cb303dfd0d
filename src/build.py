"""From a composed config to what a training is made of: checked settings, strategy, module, data.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src import backbones, staging
from src.backbones import Source
from src.checking import check
from src.config import Backbone, FromRun, MaskedLanguageHead, RunConfig, Scratch
from src.data.corpus import Corpus
from src.errors import UserError, nearest
from src.freezing import HEAD, Phase, Stage, Strategy, check_reinit, depth
from src.instantiating import instantiate, told
from src.lengths import length
from src.monitoring import best_mode, contradiction
from src.switches import refusals

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from src.data.datamodule import TextDataModule
    from src.freezable import FreezableModule
    from src.optimizing import Optimization


log = logging.getLogger(__name__)

PACKABLE = ("bert", "electra")  # architectures whose texts can share a row


def read_config(cfg: DictConfig) -> tuple[RunConfig, Strategy]:
    """The typed config and the freezing strategy.

    Raises:
        UserError: one message with all problems of both.
    """
    problems: list[str] = []
    strategy: Strategy | None = None
    try:
        settings = check(cfg)
    except UserError as error:
        problems.append(str(error))
    try:
        if isinstance(cfg.freeze, DictConfig) and not OmegaConf.missing_keys(cfg.freeze):
            strategy = instantiate(cfg.freeze, "freeze")
    except UserError as error:
        problems.append(str(error))
    except OmegaConfBaseException:
        pass  # what is missing or refers to nothing has been told already
    if problems or strategy is None:
        raise UserError("\n".join(problems))
    return settings, strategy


def read_training(cfg: DictConfig) -> tuple[RunConfig, Strategy]:
    """As `read_config`, for a run that is to train; older runs may have trained with what is refused today.

    Raises:
        UserError: one message with all that no training can go by.
    """
    settings, strategy = read_config(cfg)
    mode, metric = settings.monitor.mode, settings.monitor.metric
    problems = list(refusals(settings.trainer))
    if mode not in ("auto", best_mode(metric)):
        problems.append(f"monitor.{contradiction(mode, metric)}.\nLeave monitor.mode out: it follows from the metric.")
    if problems:
        raise UserError("\n".join(problems))
    return settings, strategy


def check_fit(settings: RunConfig, strategy: Strategy, source: Source) -> None:
    """Whether the backbone can do what the config asks, as far as its files tell without loading it.

    Raises:
        UserError: max_length is beyond the backbone's positions, or the strategy does not fit its layers.
    """
    if settings.data.max_length > source.longest:
        other = "choose a backbone for longer texts, such as backbone=modernbert"
        if isinstance(settings.backbone, Scratch):
            other = "raise backbone.max_length"
        raise UserError(
            f"data.max_length must be at most {source.longest} for {source.name}; got {settings.data.max_length}.\n"
            f"Lower it, or {other}."
        )
    declared = staging.declared_stages(source) or [
        Stage(name, (name,)) for name in ("embeddings", *(f"layer.{i}" for i in range(source.layers)))
    ]
    with_names = all(len(stage.parameters) > 1 for stage in declared if stage.is_layer)
    if with_names or not strategy.by_name:
        stages = [*declared, Stage(HEAD, (HEAD,))]
        phases = strategy.phases(stages)
        check_reinit(strategy.reinit_top, stages, phases)
        if any(phase.end.epochs is None for phase in phases[:-1]) and settings.monitor.metric.startswith("train/"):
            raise UserError(
                f"A phase that ends on a plateau watches validation; monitor.metric is {settings.monitor.metric}.\n"
                "Choose a score of validation, such as monitor.metric=validation/loss, or freeze.until=epochs."
            )


def check_monitor(settings: RunConfig, corpus: Corpus) -> None:
    """
    Raises:
        UserError: a metric that decides something is not one of this task's scores.
    """
    known = {"loss", *corpus.space.scores}
    for key, metric in _watched(settings).items():
        split, _, score = metric.partition("/")
        if split not in ("train", "validation") or score not in known:
            place = split if split == "train" else "validation"
            raise UserError(
                f"{key} must be {place}/ and a score of this task; got {metric}.\n{nearest(score or split, known)}"
            )


def _watched(settings: RunConfig) -> dict[str, str]:
    """The metrics that something of a training goes by, by their key in the config."""
    found = {"monitor.metric": settings.monitor.metric, "scheduler.monitor": settings.scheduler.monitor}
    for name, callback in settings.callbacks.items():
        found[f"callbacks.{name}.monitor"] = (callback.model_extra or {}).get("monitor") if callback else None
    return {key: metric for key, metric in found.items() if isinstance(metric, str)}


def find_backbone(cfg: Backbone) -> Source:
    """The files of the backbone, or its description where it is to be made.

    Raises:
        UserError: there is no such backbone.
    """
    from src import pretraining

    if isinstance(cfg, Scratch):
        return pretraining.describe(cfg)
    return pretraining.find_pretrained(cfg) if isinstance(cfg, FromRun) else backbones.find(cfg)


def build(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, source: Source, corpus: Corpus
) -> tuple[FreezableModule, TextDataModule]:
    """The module and its data. The seed also decides everything that is drawn from here on.

    Raises:
        UserError: the weights, the tokenizer or the strategy cannot be used.
    """
    import pytorch_lightning as pl
    import torch

    from src.data.datamodule import LabelledDataModule, MaskedDataModule
    from src.modules import MaskedLanguageModel, TextClassifier

    pl.seed_everything(settings.seed, workers=True, verbose=False)
    texts = corpus.splits["train"].texts
    encoder, head, tokenizer = build_network(cfg, settings, strategy, source, corpus.space.outputs, texts)
    if settings.trainer.gradient_checkpointing:
        backbones.enable_checkpointing(encoder)
    stages, phases = stages_and_phases(encoder, head, strategy)
    if isinstance(settings.backbone, Scratch) and depth(stages, phases):
        log.warning("The backbone starts from random weights, and freeze=%s leaves some as they are.", strategy.name)
    network = (encoder, head, stages, phases, _optimization(cfg, settings))
    data = (corpus, tokenizer, settings.data, settings.seed, Path(settings.cache))
    if isinstance(settings.model, MaskedLanguageHead):
        return _checked(MaskedLanguageModel(*network)), MaskedDataModule(*data, settings.model.masking)
    datamodule = LabelledDataModule(*data)
    weights = datamodule.label_weights if corpus.space.objective == "multilabel" else None
    module = TextClassifier(*network, corpus.space, None if weights is None else torch.from_numpy(weights))
    return _checked(module), datamodule


def _checked(module: FreezableModule) -> FreezableModule:
    """The same, after making an optimizer and a schedule for nothing: Lightning makes them when a run has begun."""
    assert module.optimization is not None
    with told("optimizer"):
        optimizer = module.optimization.optimizer(module)
    with told("scheduler"):
        module.optimization.scheduler(optimizer, 10)
    return module


def build_network(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, source: Source, outputs: int, texts: Sequence[str]
) -> tuple[PreTrainedModel, nn.Module, PreTrainedTokenizerBase]:
    """The encoder and the head as the strategy trains them, and the encoder's tokenizer. What is random in them is the
    same for the same seed.

    Args:
        cfg: the whole config.
        settings: the same, typed.
        strategy: says what is changed in the network.
        source: the backbone's files.
        outputs: how many logits a text has; of no meaning for masked language modelling.
        texts: what a tokenizer is made of, where there is none yet.

    Raises:
        UserError: the weights, the tokenizer or the strategy cannot be used.
    """
    import torch

    from src import pretraining
    from src.adapting import adapt

    torch.manual_seed(settings.seed)
    chosen, pooler = settings.backbone, getattr(settings.model, "pooling", None) == "pooler"
    if isinstance(chosen, Scratch):
        tokenizer = pretraining.train_tokenizer(texts, chosen)
        encoder = pretraining.make_encoder(source, chosen.attention, tokenizer, pooler)
    else:
        tokenizer = backbones.load_tokenizer(source)
        encoder = backbones.load_encoder(source, chosen.attention, pooler, chosen.dropout)
        backbones.check_vocabulary(source, tokenizer, encoder)
    width = int(encoder.config.hidden_size)
    if settings.masks:
        embeddings: Any = encoder.get_input_embeddings()
        vocabulary, embedding_width = embeddings.weight.shape
        plain = OmegaConf.masked_copy(cfg.model, [key for key in cfg.model if key != "masking"])
        head = instantiate(plain, "model", width=width, embedding_width=embedding_width, vocabulary=vocabulary)
        loaded_head = pretraining.load_head(source, head)
        _check_packing(settings, encoder)
    else:
        head, loaded_head = instantiate(cfg.model, "model", width=width, outputs=outputs), False
    if not isinstance(chosen, Scratch):
        pretraining.say_loaded(source, encoder, None if loaded_head else head)
    loaded = staging.stages(name for name, _ in encoder.named_parameters())
    encoder, head = adapt(encoder, head, strategy, loaded)
    return encoder, head, tokenizer


def _check_packing(settings: RunConfig, encoder: PreTrainedModel) -> None:
    """
    Raises:
        UserError: texts are to share rows, and the backbone cannot keep them apart.
    """
    kind, attention = encoder.config.model_type, encoder.config._attn_implementation
    if settings.data.pack and (kind not in PACKABLE or attention == "eager"):
        raise UserError(
            f"data.pack=true needs a backbone that takes positions and a mask for each pair of tokens: "
            f"{' or '.join(PACKABLE)} with backbone.attention=auto; this is {kind} with {attention}.\n"
            "Choose data.pack=false; batches of similar length have little padding too."
        )


def _optimization(cfg: DictConfig, settings: RunConfig) -> Optimization:
    """How optimizer and schedule are built, once the number of steps is known."""
    import torch

    from src import optim
    from src.optimizing import Optimization

    def optimizer(module: FreezableModule) -> torch.optim.Optimizer:
        return optim.build_optimizer(cfg.optimizer, settings.trainer.precision, module)

    chosen, schedule = settings.optimizer, settings.scheduler

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
        chosen.head_lr or chosen.lr,
        chosen.thaw_warmup,
    )


def stages_and_phases(encoder: nn.Module, head: nn.Module, strategy: Strategy) -> tuple[list[Stage], list[Phase]]:
    """
    Raises:
        UserError: the strategy does not fit this network.
    """
    stages = [
        *staging.stages(name for name, _ in encoder.named_parameters()),
        Stage(HEAD, tuple(f"{HEAD}.{name}" for name, _ in head.named_parameters())),
    ]
    phases = strategy.phases(stages)
    check_reinit(strategy.reinit_top, stages, phases)
    if not all(phase.trainable for phase in phases):
        raise UserError(f"freeze={strategy.name} must leave parameters to train; it freezes all of them.")
    return stages, phases
