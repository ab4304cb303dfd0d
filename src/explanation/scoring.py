"""Scores of each label for token ids, or for embeddings in their place."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from src.explanation.tokens import Tokens, Window
from src.models.heads import probabilities
from src.models.networks import Network
from src.models.windows import combine_windows

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

    def __call__(self, ids: Int[Tensor, "rows tokens"], tokens: Tokens) -> Float[Tensor, "rows labels"]:
        """Returns the labels' scores for variants of one text."""
        return torch.cat([self._forward(ids[start : start + ROWS], tokens) for start in range(0, len(ids), ROWS)])

    def of_vectors(self, vectors: Float[Tensor, "rows tokens width"], tokens: Tokens) -> Float[Tensor, "rows labels"]:
        """Returns the labels' scores for a text whose token embeddings are replaced by these vectors."""
        # Architectures differ in how they take `inputs_embeds`, but all look tokens up in one embedding module.
        hook = self.network.encoder.get_input_embeddings().register_forward_hook(lambda *_: vectors)
        try:
            return self._forward(tokens.ids.expand(len(vectors), -1), tokens)
        finally:
            hook.remove()

    def embed(self, ids: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens width"]:
        """Returns the token embeddings, without position embeddings."""
        vectors: Tensor = self.network.encoder.get_input_embeddings()(ids.clone())
        return vectors.detach()

    def probabilities(self, scores: Float[Tensor, "rows labels"]) -> Float[Tensor, "rows labels"]:
        logits = scores[:, 1:] if self.objective == "binary" else scores
        return probabilities(logits, self.objective)

    def _of_document(self, logits: Float[Tensor, "rows columns"], window: Window) -> Float[Tensor, "rows outputs"]:
        """Returns the logits of the document with each variant of one of its windows."""
        whole = window.logits.expand(len(logits), -1, -1)
        before, after = whole[:, : window.index], whole[:, window.index + 1 :]
        rows = torch.cat([before, logits[:, None], after], dim=1)
        counts = torch.full((len(rows),), rows.shape[1])
        return combine_windows(rows.flatten(0, 1), counts, self.network.windows)

    def _forward(self, ids: Int[Tensor, "rows tokens"], tokens: Tokens) -> Float[Tensor, "rows labels"]:
        batch = {"input_ids": ids, "mask": tokens.mask.expand(len(ids), -1)}
        if tokens.types is not None:
            batch["token_type_ids"] = tokens.types.expand(len(ids), -1)
        # Gradients cannot flow through tensors that were made in the caller's inference mode, but through copies.
        logits: Tensor = self.network({name: tensor.clone() for name, tensor in batch.items()})
        if tokens.window:
            logits = self._of_document(logits, tokens.window)
        return torch.cat([-logits, logits], dim=1) if self.objective == "binary" else logits
