"""The LightningModule that learns to predict masked tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from src.data.labels import MASKED_SCORES
from src.datamodules.batching import Batch
from src.models.heads import MaskedLanguageHead
from src.models.networks import token_logits
from src.modules import metrics
from src.modules.freezable import FreezableModule, Seen

if TYPE_CHECKING:
    pass


class MaskedLanguageModel(FreezableModule):
    """Guesses masked tokens (Devlin et al. 2019). Only masked places get logits: over all places they would be most of
    a small model's work."""

    head: MaskedLanguageHead

    @property
    def scores(self) -> Sequence[str]:
        return MASKED_SCORES

    def forward(self, batch: Batch) -> Float[Tensor, "masked vocabulary"]:
        return token_logits(self.encoder, self.head, batch)

    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], Seen]:
        logits = self(batch)
        loss = F.cross_entropy(logits, batch["targets"], reduction="sum")
        # Sums, since an epoch has a vocabulary of logits for each masked token.
        return loss / batch["loss_divisor"], {
            "sums": metrics.masked_sums(logits.detach(), batch["targets"], loss.detach())
        }

    def measure(self, seen: list[Seen], split: str) -> dict[str, float]:
        return metrics.measure_masked(torch.cat([part["sums"] for part in seen]))
