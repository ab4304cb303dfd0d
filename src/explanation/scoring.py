"""Scores of each label for token ids, or for embeddings in their place."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from src.models.heads import probabilities
from src.models.networks import Network

ROWS = 32  # texts per forward pass


class LabelScores:
    """The logits of a text classifier by label. The single logit of a binary task is the score of the positive label;
    negated, it is that of the negative label.

    Args:
        network: in evaluation mode; its parameters may be frozen or not.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.objective = network.space.objective

    def __call__(self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, " tokens"]) -> Float[Tensor, "rows labels"]:
        """Returns the labels' scores for variants of one text."""
        return torch.cat([self._forward(ids[start : start + ROWS], mask) for start in range(0, len(ids), ROWS)])

    def of_vectors(
        self, vectors: Float[Tensor, "rows tokens width"], ids: Int[Tensor, " tokens"], mask: Bool[Tensor, " tokens"]
    ) -> Float[Tensor, "rows labels"]:
        """Returns the labels' scores for a text whose token embeddings are replaced by these vectors."""
        # Architectures differ in how they take `inputs_embeds`, but all look tokens up in one embedding module.
        hook = self.network.encoder.get_input_embeddings().register_forward_hook(lambda *_: vectors)
        try:
            return self._forward(ids.expand(len(vectors), -1), mask)
        finally:
            hook.remove()

    def embed(self, ids: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens width"]:
        """Returns the token embeddings, without position embeddings."""
        vectors: Tensor = self.network.encoder.get_input_embeddings()(ids)
        return vectors.detach()

    def probabilities(self, scores: Float[Tensor, "rows labels"]) -> Float[Tensor, "rows labels"]:
        logits = scores[:, 1:] if self.objective == "binary" else scores
        return probabilities(logits, self.objective)

    def _forward(self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, " tokens"]) -> Float[Tensor, "rows labels"]:
        logits: Tensor = self.network({"input_ids": ids, "mask": mask.expand(len(ids), -1)})
        return torch.cat([-logits, logits], dim=1) if self.objective == "binary" else logits
