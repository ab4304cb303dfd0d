"""Checks and logs loaded weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.backbones.source import Source
from src.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def check_finite(weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Checks that all weights are finite.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    if broken := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        raise UserError(
            f"Weights must be finite numbers; in {source} these are not finite: {', '.join(broken[:5])}.\n"
            "Train that run again, with a lower optimizer.lr, or choose another backbone."
        )


def log_loaded(source: Source, encoder: PreTrainedModel, new_head: nn.Module | None) -> None:
    """Logs which tensors are loaded and which are newly initialised.

    Args:
        source: the files of the encoder.
        encoder: with all its weights loaded from there.
        new_head: the head, if it is newly initialised.

    Raises:
        UserError: a weight of the encoder is NaN or infinite.
    """
    weights = dict(encoder.named_parameters())
    check_finite(weights, source.name)
    new = f"head ({len(list(new_head.parameters()))} tensors)" if new_head else "none"
    log.info("Loaded all %d tensors of the encoder from %s; newly initialised: %s", len(weights), source.name, new)
