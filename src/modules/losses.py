"""The loss of a classifier or a regression, per text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from src.data.labels import LabelSpace
from src.models.networks import constants


@dataclass(frozen=True)
class Loss:
    """Cross-entropy, or binary cross-entropy with logits, averaged over labels; in regression the squared error in
    standard deviations of the training targets, averaged over targets.

    Args:
        space: the labels and the objective.
        smoothing: how much of each target is spread evenly over the labels (Szegedy et al. 2016).
        gamma: of the focal loss, which weights each text by (1 - p)^gamma, p the probability of its label (Lin et al.
            2017); 0: all alike.
        huber: in regression, from one standard deviation on the error counts linearly (Huber 1964), half its square
            below.
    """

    space: LabelSpace
    smoothing: float = 0.0
    gamma: float = 0.0
    huber: bool = False

    def __call__(
        self,
        logits: Float[Tensor, "texts outputs"],
        targets: Shaped[Tensor, "texts ..."],
        label_weights: Float[Tensor, " labels"] | None = None,
    ) -> Float[Tensor, " texts"]:
        """Returns the loss of each text.

        Args:
            logits: from the head.
            targets: label indices, 0 and 1 per label, or numbers.
            label_weights: multi-label only: of each label's positive term.
        """
        if self.space.is_regression:
            errors = (logits - targets) / constants(self.space.std, logits)
            if self.huber:
                return F.huber_loss(errors, torch.zeros_like(errors), reduction="none").mean(1)
            return (errors**2).mean(1)
        if self.space.objective == "multiclass":
            losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.smoothing)
            return losses * self._focus(F.cross_entropy(logits, targets, reduction="none")) if self.gamma else losses
        binary = self.space.objective == "binary"
        logits, wanted = (logits[:, 0], targets.float()) if binary else (logits, targets)
        smooth = wanted * (1 - self.smoothing) + self.smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=label_weights, reduction="none")
        if self.gamma:
            losses = losses * self._focus(F.binary_cross_entropy_with_logits(logits, wanted, reduction="none"))
        return losses if binary else losses.mean(1)

    def _focus(self, losses: Float[Tensor, "*terms"]) -> Float[Tensor, "*terms"]:
        """The weight of each term; its cross-entropy is -log p."""
        return (1 - torch.exp(-losses)) ** self.gamma
