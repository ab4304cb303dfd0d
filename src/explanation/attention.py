"""Where each head of each layer looks: attention maps, their flow through the layers, and what sums them up."""

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

TOLERANCE = 1e-5  # of logits between attention that shows its weights and attention that does not


@dataclass(frozen=True)
class Attention:
    """The attention of an encoder on one text. Rows are the tokens that look, columns those that are looked at.

    Args:
        weights: of all layers and heads; every row sums to 1.
        flow: by rollout.
        relevance: weighted by the gradients of some labels' scores.
        gap: the largest difference of a logit to the one that the run's own attention gives.
    """

    weights: Float[Tensor, "layers heads tokens tokens"]
    flow: Float[Tensor, "tokens tokens"]
    relevance: Float[Tensor, "labels tokens tokens"]
    gap: float


def attend(scores: LabelScores, tokens: Tokens, labels: Sequence[int]) -> Attention:
    """Attention of a text, from the plain implementation, which is the only one that shows its weights.

    Raises:
        UserError: its logits are not those of the run's own implementation.
    """
    with torch.inference_mode(False), torch.enable_grad():
        ids, mask = tokens.ids.clone()[None], tokens.mask.clone()
        with torch.no_grad():
            fast = scores(ids, mask)[0]
        vectors = scores.embed(ids[0])[None].requires_grad_()
        with _shown_weights(scores.network.encoder) as layers:
            found = scores.of_vectors(vectors, ids[0], mask)[0]
        gap = float((found - fast).abs().max().detach())
        if not gap <= TOLERANCE * max(1.0, float(fast.abs().max())):
            raise UserError(
                f"Attention with its weights must give the run's own logits; they differ by {gap:.2g}.\n"
                "Leave attention out: methods=[integrated_gradients,occlusion]."
            )
        slopes = [torch.autograd.grad(found[label], layers, retain_graph=True) for label in labels]
    weights = torch.cat([layer.detach() for layer in layers])
    gradients = torch.stack([torch.cat(slope) for slope in slopes])
    return Attention(weights, rollout(weights), torch.stack([relevance(weights, g) for g in gradients]), gap)


@contextlib.contextmanager
def _shown_weights(encoder: Any) -> Iterator[list[Tensor]]:
    """Runs within have plain attention; their weights are added to the list, [1, heads, tokens, tokens] a layer."""
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
    """Attention flow from each token to each input token, through all layers.

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
    """Gradient-weighted attention: what speaks for a label, followed through all layers (Chefer et al. 2021, eq. 5-6).

    The positive part of weights times gradients, averaged over heads, is added layer by layer onto the identity, which
    is taken away in the end: it says only that every token carries itself.
    """
    identity = torch.eye(weights.shape[-1])
    found = identity
    for layer in (weights * gradients).clamp_min(0).mean(1):
        found = found + layer @ found
    return found - identity


def entropy(weights: Float[Tensor, "layers heads tokens tokens"]) -> Float[Tensor, "layers heads"]:
    """How widely a head looks, in bits, averaged over its rows: 0 is one token, log2(tokens) is all alike."""
    bits: Tensor = torch.special.entr(weights).sum(-1).mean(-1) / math.log(2)
    return bits


def mass(
    weights: Float[Tensor, "layers heads tokens tokens"], columns: Bool[Tensor, " tokens"]
) -> Float[Tensor, "layers heads"]:
    """The share of a head's attention that goes to some tokens, averaged over its rows."""
    shares: Tensor = weights[..., columns].sum(-1).mean(-1)
    return shares
