"""The LightningModule that predicts labels or numbers of texts: its loss and scores for each objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.config.reading import WindowPooling
from src.data.labels import LABEL_F1, LabelSpace
from src.datamodules.ragged import Batch
from src.freezing.strategy import Phase, Stage
from src.models.heads import probabilities
from src.models.networks import in_units, label_logits
from src.modules import metrics
from src.modules.freezable import FreezableModule, StepOutput, concatenated
from src.modules.losses import Loss
from src.modules.optimizing import Optimization

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Predictions:
    """The logits, targets and weights of a split, in the order of its examples."""

    logits: Float[Tensor, "rows outputs"]
    targets: Shaped[Tensor, "rows ..."]
    weights: Float[Tensor, " rows"]


class TextClassifier(FreezableModule):
    """Classifies texts.

    Args:
        encoder: the backbone.
        head: reads the encoder's pooled vectors or token states.
        stages: the backbone's and the head's, from the input to the output.
        phases: of the freezing strategy.
        optimization: builds the optimizer; None for a model that does not train.
        space: the labels and the objective.
        watched: labels whose F1 is measured too.
        loss: that training minimises; None: the cross-entropy, or the squared error.
        label_weights: float32 [labels], multi-label only: the weight of each label's positive term in the loss.
        windows: how the logits of a document's windows become one.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        head: nn.Module,
        stages: Sequence[Stage],
        phases: Sequence[Phase],
        optimization: Optimization | None,
        space: LabelSpace,
        watched: Sequence[str] = (),
        loss: Loss | None = None,
        label_weights: Tensor | None = None,
        windows: WindowPooling = "mean",
    ) -> None:
        super().__init__(encoder, head, stages, phases, optimization)
        self.space, self.watched, self.loss, self.windows = space, watched, loss or Loss(space), windows
        self.register_buffer("label_weights", label_weights, persistent=False)
        self.predictions: dict[str, Predictions] = {}  # the latest predictions of each split

    @property
    def scores(self) -> Sequence[str]:
        return [*self.space.scores, *(LABEL_F1 + name for name in self.watched)]

    def forward(self, batch: Batch) -> Float[Tensor, "texts outputs"]:
        suffix = next(iter(self._suffix), None)
        return in_units(label_logits(self.encoder, self.head, batch, suffix, self.windows), self.space)

    def losses(
        self, logits: Float[Tensor, "texts outputs"], targets: Shaped[Tensor, "texts ..."], loss: Loss | None = None
    ) -> Float[Tensor, " texts"]:
        """Returns the loss of each text; that which all runs are measured by, cross-entropy or squared error, unless
        another is given."""
        weights = self.label_weights if isinstance(self.label_weights, Tensor) else None
        return (loss or Loss(self.space))(logits, targets, weights)

    def step(self, batch: Batch) -> tuple[Float[Tensor, ""], StepOutput]:
        logits = self(batch)
        losses = self.losses(logits, batch["targets"], self.loss if self.training else None)
        loss = (losses * batch["weights"]).sum() / batch["loss_divisor"]
        return loss, {"logits": logits.detach(), **{key: batch[key] for key in ("rows", "targets", "weights")}}

    def measure(self, outputs: list[StepOutput], split: str) -> dict[str, float]:
        whole = concatenated(outputs)
        order = whole["rows"].argsort()
        found = Predictions(whole["logits"][order], whole["targets"][order], whole["weights"][order])
        self.predictions[split] = found
        return self.score(found)

    def score(self, predictions: Predictions, thresholds: Tensor | None = None) -> dict[str, float]:
        """Returns the loss and all scores of a split's predictions."""
        logits, targets, weights = predictions.logits, predictions.targets, predictions.weights
        losses = self.losses(logits.to(self.device), targets.to(self.device)).cpu()
        probs = probabilities(logits, self.space.objective)
        loss = float((losses * weights).sum() / weights.sum())
        return {"loss": loss, **metrics.measure(probs, targets, self.space, thresholds, self.watched)}
