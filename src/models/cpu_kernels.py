"""What PyTorch does slowly on a processor while a backbone learns, done in other ways: attention and dropout.

On other devices, under `torch.compile` and where nothing learns, PyTorch's own run."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_or_products"  # of the attention, among those of transformers


LEVELS = 1 << 16  # the probabilities of dropout that there are


def make_quick(encoder: PreTrainedModel) -> None:
    """Changes how a freshly loaded backbone computes, not what: attention where it would use scaled dot product
    attention, and every dropout."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    if encoder.config._attn_implementation == "sdpa":
        encoder.set_attn_implementation(NAME)
    for module in encoder.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout


def _attention(
    module: nn.Module,
    query: Float[Tensor, "texts heads tokens width"],
    key: Float[Tensor, "texts heads tokens width"],
    value: Float[Tensor, "texts heads tokens width"],
    attention_mask: Bool[Tensor, "texts 1 tokens tokens"] | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it. With dropout PyTorch's own falls back on plain products anyway, by a long way
    round; without, its backward pass in bfloat16 takes several times as long as products do."""
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    # In float32 without dropout PyTorch's kernel is the quicker one.
    slow = dropout > 0 or query.dtype == torch.bfloat16
    if not (learns and slow and _plain(query)) or options.get("is_causal") or options.get("position_bias") is not None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = drop(scores.softmax(-1), dropout).to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), None


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014) by `drop`."""

    def forward(self, states: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return drop(states, self.p) if self.training else states


def drop(states: Float[Tensor, "*any"], probability: float) -> Float[Tensor, "*any"]:
    """Sets a share of the values to zero and scales the others up, so that the mean stays.

    PyTorch draws a number of 32 bits for each value, one after the other, which takes longer than the products around
    it. Of 64 bits four values can be decided, with the probability rounded to a multiple of 2^-16."""
    if not 0 < probability < 1 or not _plain(states):
        return F.dropout(states, probability)
    count = states.numel()
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    threshold = min(round(probability * LEVELS), LEVELS - 1)
    kept = drawn.view(torch.int16)[:count].view(states.shape) >= threshold - LEVELS // 2
    return states * kept.to(states.dtype).mul_(LEVELS / (LEVELS - threshold))


def _plain(states: Tensor) -> bool:
    return states.device.type == "cpu" and not torch.compiler.is_compiling()
