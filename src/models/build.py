"""Builds the network that a config describes: encoder, head, tokenizer, stages and phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from src.backbones import loading
from src.backbones.source import Source
from src.backbones.stages import stages_of
from src.config.backbone import Scratch
from src.config.instantiate import instantiate
from src.config.model import head_arguments
from src.config.schema import RunConfig
from src.errors import UserError
from src.freezing.strategy import HEAD, Phase, Stage, Strategy, check_reinit

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


PACKABLE = ("bert", "electra")  # architectures that accept several texts in one sequence


def build_network(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, source: Source, outputs: int, texts: Sequence[str]
) -> tuple[PreTrainedModel, nn.Module, PreTrainedTokenizerBase]:
    """Builds the encoder and the head as the strategy trains them, and the tokenizer.

    Random weights are a function of the seed.

    Args:
        cfg: the whole config.
        settings: the same, typed.
        strategy: decides how the network is changed.
        source: the backbone's files.
        outputs: logits per text; ignored for masked language modelling.
        texts: to train a tokenizer on, if the backbone has none yet.

    Raises:
        UserError: the weights, the tokenizer or the strategy cannot be used.
    """
    import torch

    from src.backbones import weights
    from src.models.adapters import adapt

    torch.manual_seed(settings.seed)
    encoder, tokenizer = _encoder(settings, source, texts)
    head, loaded_head = _head(cfg, settings, source, encoder, outputs)
    if not isinstance(settings.backbone, Scratch):
        weights.log_loaded(source, encoder, None if loaded_head else head)
    loaded = stages_of(name for name, _ in encoder.named_parameters())
    encoder, head = adapt(encoder, head, strategy, loaded)
    return encoder, head, tokenizer


def _encoder(
    settings: RunConfig, source: Source, texts: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from src.backbones import scratch

    chosen, pooler = settings.backbone, getattr(settings.model, "pooling", None) == "pooler"
    if isinstance(chosen, Scratch):
        tokenizer = scratch.train_tokenizer(texts, chosen)
        return scratch.make_encoder(source, chosen.attention, tokenizer, pooler), tokenizer
    tokenizer = loading.load_tokenizer(source)
    encoder = loading.load_encoder(source, chosen.attention, pooler, chosen.dropout)
    loading.check_vocabulary(source, tokenizer, encoder)
    return encoder, tokenizer


def _head(
    cfg: DictConfig, settings: RunConfig, source: Source, encoder: PreTrainedModel, outputs: int
) -> tuple[nn.Module, bool]:
    """Returns the head, and whether its weights are those of the backbone's files."""
    from src.models import masked_language
    from src.models.windows import columns

    width = int(encoder.config.hidden_size)
    arguments = head_arguments(cfg.model)
    if settings.is_mlm:
        embeddings: Any = encoder.get_input_embeddings()
        vocabulary, embedding_width = embeddings.weight.shape
        head = instantiate(arguments, "model", width=width, embedding_width=embedding_width, vocabulary=vocabulary)
        loaded = masked_language.load_head(source, head)
        _check_packing(settings, encoder)
        return head, loaded
    outputs = columns(outputs, settings.pooled_windows or "mean")
    return instantiate(arguments, "model", width=width, outputs=outputs), False


def _check_packing(settings: RunConfig, encoder: PreTrainedModel) -> None:
    """Checks that the backbone supports packing.

    Raises:
        UserError: `data.pack` is set, and the backbone cannot keep packed texts from attending to each other.
    """
    kind, attention = encoder.config.model_type, encoder.config._attn_implementation
    if settings.data.pack and (kind not in PACKABLE or attention == "eager"):
        raise UserError(
            f"data.pack=true needs a backbone that accepts position ids and an attention mask per pair of tokens: "
            f"{' or '.join(PACKABLE)} with backbone.attention=auto; this is {kind} with {attention}.\n"
            "Choose data.pack=false; batches of texts of similar length need little padding either."
        )


def stages_and_phases(encoder: nn.Module, head: nn.Module, strategy: Strategy) -> tuple[list[Stage], list[Phase]]:
    """Returns the stages of a network and the phases of its training.

    Raises:
        UserError: the strategy does not fit this network.
    """
    stages = [
        *stages_of(name for name, _ in encoder.named_parameters()),
        Stage(HEAD, tuple(f"{HEAD}.{name}" for name, _ in head.named_parameters())),
    ]
    phases = strategy.phases(stages)
    check_reinit(strategy.reinit_top, stages, phases)
    if not all(phase.trainable for phase in phases):
        raise UserError(f"freeze={strategy.name} must leave parameters to train; it freezes all of them.")
    return stages, phases
