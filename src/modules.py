"""The LightningModules: what each objective computes in a step, and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from src import metrics
from src.data.batching import Batch
from src.data.labels import MASKED_SCORES, LabelSpace
from src.freezable import FreezableModule, Seen, joined
from src.freezing import Phase, Stage
from src.heads import MaskedLanguageHead, probabilities
from src.networks import label_logits, token_logits
from src.optimizing import Optimization

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split, in the order of its rows."""

    logits: Float[Tensor, "rows outputs"]
    targets: Shaped[Tensor, "rows ..."]
    weights: Float[Tensor, " rows"]


class TextClassifier(FreezableModule):
    """Labels texts.

    Args:
        encoder: the backbone.
        head: reads the encoder's pooled vectors or token states.
        stages: the backbone's and the head's, from the input to the output.
        phases: of the freezing strategy.
        optimization: builds the optimizer; None for a model that does not train.
        space: the labels and the objective.
        label_weights: float32 [labels], multi-label only: the weight of each label's positive term in the loss.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        head: nn.Module,
        stages: Sequence[Stage],
        phases: Sequence[Phase],
        optimization: Optimization | None,
        space: LabelSpace,
        label_weights: Tensor | None = None,
    ) -> None:
        super().__init__(encoder, head, stages, phases, optimization)
        self.space = space
        self.register_buffer("label_weights", label_weights, persistent=False)
        self.predictions: dict[str, Predictions] = {}  # the latest of each split

    @property
    def scores(self) -> Sequence[str]:
        return self.space.scores

    def forward(self, batch: Batch) -> Float[Tensor, "texts outputs"]:
        return label_logits(self.encoder, self.head, batch, *self._suffix)

    def losses(
        self, logits: Float[Tensor, "texts outputs"], targets: Shaped[Tensor, "texts ..."]
    ) -> Float[Tensor, " texts"]:
        """The loss of each text: cross-entropy, or binary cross-entropy with logits, averaged over labels."""
        if self.space.objective == "multiclass":
            return F.cross_entropy(logits, targets, reduction="none")
        if self.space.objective == "binary":
            return F.binary_cross_entropy_with_logits(logits[:, 0], targets.float(), reduction="none")
        weights = self.label_weights if isinstance(self.label_weights, Tensor) else None
        losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
        return losses.mean(1)

    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], Seen]:
        logits = self(batch)
        loss = (self.losses(logits, batch["targets"]) * batch["weights"]).sum() / batch["share"]
        return loss, {"logits": logits.detach(), **{key: batch[key] for key in ("rows", "targets", "weights")}}

    def measure(self, seen: list[Seen], split: str) -> dict[str, float]:
        whole = joined(seen)
        order = whole["rows"].argsort()
        found = Predictions(whole["logits"][order], whole["targets"][order], whole["weights"][order])
        self.predictions[split] = found
        return self.score(found)

    def score(self, predictions: Predictions, thresholds: Tensor | None = None) -> dict[str, float]:
        """The loss and all scores of a split's predictions."""
        logits, targets, weights = predictions.logits, predictions.targets, predictions.weights
        losses = self.losses(logits.to(self.device), targets.to(self.device)).cpu()
        probs = probabilities(logits, self.space.objective)
        loss = float((losses * weights).sum() / weights.sum())
        return {"loss": loss, **metrics.measure(probs, targets, self.space, thresholds)}


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
        return loss / batch["share"], {"sums": metrics.masked_sums(logits.detach(), batch["targets"], loss.detach())}

    def measure(self, seen: list[Seen], split: str) -> dict[str, float]:
        return metrics.measure_masked(torch.cat([part["sums"] for part in seen]))
