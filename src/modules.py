"""The LightningModules: what each objective computes in a step, and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

from src import metrics
from src.data.batching import Batch
from src.data.labels import MASKED_SCORES, LabelSpace
from src.freezable import FreezableModule, Optimization, Seen
from src.freezing import Phase, Stage
from src.heads import MaskedLanguageHead, logits_of

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

    @property
    def reads_all_layers(self) -> bool:
        """Whether the head reads the outputs of all layers side by side instead of the last one's."""
        return bool(getattr(self.head, "all_layers", False))

    def forward(self, batch: Batch) -> Float[Tensor, "texts outputs"]:
        """The logits of a batch of token ids, or of what the activation store holds in their place."""
        if "pooled" in batch:
            logits: Tensor = self.head(batch["pooled"])
            return logits.float()
        mask = batch["mask"]
        if "states" not in batch:
            output = self.encoder(input_ids=batch["input_ids"], attention_mask=mask.long())
        elif self._suffix:
            output = self._suffix[0](inputs_embeds=batch["states"], attention_mask=mask.long())
        else:
            output = BaseModelOutput(last_hidden_state=batch["states"])
        # What a store holds for a head that reads all layers lies side by side already.
        logits = logits_of(self.head, output, mask, self.reads_all_layers and "states" not in batch)
        return logits.float()

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
        whole = {key: torch.cat([part[key] for part in seen]) for key in seen[0]}
        order = whole["rows"].argsort()
        found = Predictions(whole["logits"][order], whole["targets"][order], whole["weights"][order])
        self.predictions[split] = found
        return self.score(found)

    def score(self, predictions: Predictions, thresholds: Tensor | None = None) -> dict[str, float]:
        """The loss and all scores of a split's predictions."""
        logits, targets, weights = predictions.logits, predictions.targets, predictions.weights
        losses = self.losses(logits.to(self.device), targets.to(self.device)).cpu()
        probs = metrics.probabilities(logits, self.space.objective)
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
        """The logits of the tokens at `places`, which count through the padded batch row by row."""
        mask, options = batch["mask"].long(), {}
        if "segments" in batch:
            # Texts that share a row do not see each other, and each counts its positions from its own start.
            segments = batch["segments"]
            mask = segments[:, None, :, None] == segments[:, None, None, :]
            options = {"position_ids": batch["positions"]}
        states = self.encoder(input_ids=batch["input_ids"], attention_mask=mask, **options).last_hidden_state
        logits: Tensor = self.head(states.flatten(0, 1)[batch["places"]], self.encoder.get_input_embeddings().weight)
        return logits.float()

    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], Seen]:
        logits = self(batch)
        loss = F.cross_entropy(logits, batch["targets"], reduction="sum")
        # Sums, since an epoch has a vocabulary of logits for each masked token.
        return loss / batch["share"], {"sums": metrics.masked_sums(logits.detach(), batch["targets"], loss.detach())}

    def measure(self, seen: list[Seen], split: str) -> dict[str, float]:
        return metrics.measure_masked(torch.cat([part["sums"] for part in seen]))
