"""What advice is given on: the texts and the backbone of a config, checked before any library is loaded."""

from __future__ import annotations

import dataclasses

from omegaconf import DictConfig

from src.config.backbone import Scratch
from src.config.model import LinearHead
from src.data.corpus import sampled
from src.errors import UserError
from src.freezing.parameter_efficient import Mix
from src.models.checks import read_training
from src.training.inputs import Inputs, read_inputs


def read_advisable(cfg: DictConfig, max_texts: int) -> tuple[Inputs, int]:
    """Returns the inputs with at most so many texts of each split, and how many training texts there are.

    Args:
        cfg: of a run with `freeze=mix` and a linear head.
        max_texts: of each split, stratified.

    Raises:
        UserError: the config, the backbone or the data cannot be used.
    """
    _check(cfg)
    inputs = read_inputs(cfg)
    if inputs.source.shares_layers:
        raise UserError(
            f"Advice needs a backbone with layers of its own; those of {inputs.source.name} share one set of "
            "parameters.\nChoose another backbone."
        )
    given = len(inputs.corpus.splits["train"])
    corpus = sampled(inputs.corpus, max_texts, inputs.settings.data.seed, "max_texts")
    return dataclasses.replace(inputs, corpus=corpus), given


def _check(cfg: DictConfig) -> None:
    """
    Raises:
        UserError: the config is not one that advice can be given for.
    """
    settings, strategy = read_training(cfg)
    if not isinstance(strategy, Mix):
        raise UserError(f"Advice is about all strategies; got freeze={strategy.name}.\nLeave out freeze=….")
    if not isinstance(settings.model, LinearHead) or settings.model.pooling == "pooler":
        raise UserError(
            "Advice reads one vector per text and layer, so the head must be model=bert_linear with model.pooling=mean "
            "or cls.\nLeave out model=…."
        )
    if isinstance(settings.backbone, Scratch) or cfg.pretrain:
        raise UserError(
            "Advice needs a pretrained backbone; this one would start from random weights.\nChoose another."
        )
    if settings.pooled_windows not in (None, "mean"):
        raise UserError(
            f"Advice reads one vector per text, the mean of its windows; got model.windows={settings.pooled_windows}.\n"
            "Leave it out."
        )
    if settings.activations.mode == "off":
        raise UserError("Advice needs an activation store; got activations=off.\nLeave it out.")
