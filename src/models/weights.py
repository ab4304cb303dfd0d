"""Checks on loaded weights, and which of them are new."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.errors import UserError
from src.models.backbones import Source

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def check_finite(weights: Mapping[str, torch.Tensor], source: str) -> None:
    """
    Raises:
        UserError: a weight is NaN or infinite, so that nothing of use can come out.
    """
    if broken := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
        raise UserError(
            f"Weights must be finite numbers; in {source} these are not: {', '.join(broken[:5])}.\n"
            "Train that run again, with a lower optimizer.lr, or choose another backbone."
        )


def say_loaded(source: Source, encoder: PreTrainedModel, new: nn.Module | None) -> None:
    """Says which tensors come from where: all of the encoder's are loaded, or loading it would have failed.

    Raises:
        UserError: they are no numbers.
    """
    names = ", ".join(f"head.{name}" for name, _ in new.named_parameters()) if new else "none"
    weights = dict(encoder.named_parameters())
    check_finite(weights, source.name)
    log.info("Loaded all %d tensors of the encoder from %s; new are: %s", len(weights), source.name, names)
