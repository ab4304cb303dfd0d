"""Attention maps of each head and layer, attention rollout, gradient-weighted attention, and summaries per head."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from src.errors import UserError
from src.explanation.scoring import LabelScores
from src.explanation.tokens import Tokens

TOLERANCE = 1e-5  # maximum relative difference of logits between eager attention and the run's own implementation


@dataclass(frozen=True)
class Attention:
    """The attention of an encoder on one text. Rows are queries (attending tokens), columns are keys (attended tokens).

    Args:
        weights: of all layers and heads; every row sums to 1.
        flow: attention rollout.
        relevance: gradient-weighted attention, per label.
        gap: the largest difference of a logit to that of the run's own attention implementation.
    """

    weights: Float[Tensor, "layers heads tokens tokens"]
    flow: Float[Tensor, "tokens tokens"]
    relevance: Float[Tensor, "labels tokens tokens"]
    gap: float


def attend(scores: LabelScores, tokens: Tokens, labels: Sequence[int]) -> Attention:
    """Returns the attention of a text, computed with the eager implementation, the only one that returns its weights.

    Raises:
        UserError: its logits differ from those of the run's own implementation.
    """
    with torch.inference_mode(False), torch.enable_grad():
        with torch.no_grad():
            fast = scores(tokens.ids[None], tokens)[0]
        vectors = scores.embed(tokens.ids)[None].requires_grad_()
        with _returned_weights(scores.network.encoder) as layers:
            found = scores.of_vectors(vectors, tokens)[0]
        gap = float((found - fast).abs().max().detach())
        if not gap <= TOLERANCE * max(1.0, float(fast.abs().max())):
            raise UserError(
                f"Eager attention must give the logits of the run's own attention; they differ by {gap:.2g}.\n"
                "Leave attention out: methods=[integrated_gradients,occlusion]."
            )
        gradients_of = [torch.autograd.grad(found[label], layers, retain_graph=True) for label in labels]
    weights = torch.cat([layer.detach() for layer in layers])
    gradients = torch.stack([torch.cat(per_layer) for per_layer in gradients_of])
    return Attention(weights, rollout(weights), torch.stack([relevance(weights, g) for g in gradients]), gap)


@contextlib.contextmanager
def _returned_weights(encoder: Any) -> Iterator[list[Tensor]]:
    """Switches to eager attention; forward passes append their weights to the list, [1, heads, tokens, tokens] per
    layer."""
    layers: list[Tensor] = []
    before = encoder.config._attn_implementation
    hooks = [
        encoder.register_forward_pre_hook(
            lambda _, args, kw: (args, {**kw, "output_attentions": True}), with_kwargs=True
        ),
        encoder.register_forward_hook(lambda _, args, output: layers.extend(output.attentions)),
    ]
    encoder.set_attn_implementation("eager")
    try:
        yield layers
    finally:
        encoder.set_attn_implementation(before)
        for hook in hooks:
            hook.remove()


def rollout(weights: Float[Tensor, "layers heads tokens tokens"]) -> Float[Tensor, "tokens tokens"]:
    """Returns the attention rollout from each token to each input token, through all layers.

    Averages heads, adds the residual path, renormalises rows and multiplies layers (Abnar & Zuidema 2020, eq. 1-2).
    Rows sum to 1.
    """
    flow = torch.eye(weights.shape[-1])
    for layer in weights.mean(1):
        mixed = layer + torch.eye(len(layer))
        flow = mixed / mixed.sum(-1, keepdim=True) @ flow
    return flow


def relevance(
    weights: Float[Tensor, "layers heads tokens tokens"], gradients: Float[Tensor, "layers heads tokens tokens"]
) -> Float[Tensor, "tokens tokens"]:
    """Returns gradient-weighted attention: the evidence for a label through all layers (Chefer et al. 2021, eq. 5-6).

    The positive part of weights times gradients, averaged over heads, is added layer by layer to the identity, which
    stands for the residual path and is subtracted at the end.
    """
    identity = torch.eye(weights.shape[-1])
    found = identity
    for layer in (weights * gradients).clamp_min(0).mean(1):
        found = found + layer @ found
    return found - identity


def entropy(weights: Float[Tensor, "layers heads tokens tokens"]) -> Float[Tensor, "layers heads"]:
    """Returns the entropy of each head in bits, averaged over its rows: 0 for one token, log2(tokens) if uniform."""
    bits: Tensor = torch.special.entr(weights).sum(-1).mean(-1) / math.log(2)
    return bits


def mass(
    weights: Float[Tensor, "layers heads tokens tokens"], columns: Bool[Tensor, " tokens"]
) -> Float[Tensor, "layers heads"]:
    """Returns the fraction of each head's attention to the chosen tokens, averaged over its rows."""
    fractions: Tensor = weights[..., columns].sum(-1).mean(-1)
    return fractions
