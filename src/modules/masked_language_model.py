"""The LightningModule that learns to predict masked tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from src.data.labels import MASKED_SCORES
from src.datamodules.ragged import Batch
from src.models.heads import MaskedLanguageHead
from src.models.networks import token_logits
from src.modules import metrics
from src.modules.freezable import FreezableModule, StepOutput


class MaskedLanguageModel(FreezableModule):
    """Predicts masked tokens (Devlin et al. 2019). Only masked positions get logits: at all positions, they would be
    most of the computation of a small model."""

    head: MaskedLanguageHead

    @property
    def scores(self) -> Sequence[str]:
        return MASKED_SCORES

    def forward(self, batch: Batch) -> Float[Tensor, "masked vocabulary"]:
        return token_logits(self.encoder, self.head, batch)

    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], StepOutput]:
        logits = self(batch)
        loss = F.cross_entropy(logits, batch["targets"], reduction="sum")
        # Keep sums instead of logits, which have the size of the vocabulary for each masked token.
        return loss / batch["loss_divisor"], {
            "sums": metrics.masked_sums(logits.detach(), batch["targets"], loss.detach())
        }

    def measure(self, outputs: list[StepOutput], split: str) -> dict[str, float]:
        return metrics.measure_masked(torch.cat([part["sums"] for part in outputs]))
