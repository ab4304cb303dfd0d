"""Builds the network that a config describes: encoder, head, tokenizer, stages and phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.config.backbone import Scratch
from src.config.instantiate import instantiate
from src.config.schema import RunConfig
from src.errors import UserError
from src.freezing.strategy import HEAD, Phase, Stage, Strategy, check_reinit
from src.models import backbones
from src.models import stages as models_stages
from src.models.backbones import Source

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


PACKABLE = ("bert", "electra")  # architectures whose texts can share a row


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

    from src.models import masked_language, scratch, weights
    from src.models.adapters import adapt

    torch.manual_seed(settings.seed)
    chosen, pooler = settings.backbone, getattr(settings.model, "pooling", None) == "pooler"
    if isinstance(chosen, Scratch):
        tokenizer = scratch.train_tokenizer(texts, chosen)
        encoder = scratch.make_encoder(source, chosen.attention, tokenizer, pooler)
    else:
        tokenizer = backbones.load_tokenizer(source)
        encoder = backbones.load_encoder(source, chosen.attention, pooler, chosen.dropout)
        backbones.check_vocabulary(source, tokenizer, encoder)
    width = int(encoder.config.hidden_size)
    if settings.is_mlm:
        embeddings: Any = encoder.get_input_embeddings()
        vocabulary, embedding_width = embeddings.weight.shape
        plain = OmegaConf.masked_copy(cfg.model, [key for key in cfg.model if key != "masking"])
        head = instantiate(plain, "model", width=width, embedding_width=embedding_width, vocabulary=vocabulary)
        loaded_head = masked_language.load_head(source, head)
        _check_packing(settings, encoder)
    else:
        head, loaded_head = instantiate(cfg.model, "model", width=width, outputs=outputs), False
    if not isinstance(chosen, Scratch):
        weights.say_loaded(source, encoder, None if loaded_head else head)
    loaded = models_stages.stages(name for name, _ in encoder.named_parameters())
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


def stages_and_phases(encoder: nn.Module, head: nn.Module, strategy: Strategy) -> tuple[list[Stage], list[Phase]]:
    """
    Raises:
        UserError: the strategy does not fit this network.
    """
    stages = [
        *models_stages.stages(name for name, _ in encoder.named_parameters()),
        Stage(HEAD, tuple(f"{HEAD}.{name}" for name, _ in head.named_parameters())),
    ]
    phases = strategy.phases(stages)
    check_reinit(strategy.reinit_top, stages, phases)
    if not all(phase.trainable for phase in phases):
        raise UserError(f"freeze={strategy.name} must leave parameters to train; it freezes all of them.")
    return stages, phases
