"""Faster attention and dropout for training on a CPU.

On other devices, under `torch.compile` and without gradients, PyTorch's own implementations run."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "sdpa_or_products"  # the name under which transformers finds this attention


LEVELS = 1 << 16  # dropout probabilities are multiples of 1 / LEVELS


def use_cpu_kernels(encoder: PreTrainedModel) -> None:
    """Replaces scaled dot product attention and dropout of a newly loaded backbone by faster, equivalent versions."""
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    if encoder.config._attn_implementation == "sdpa":
        encoder.set_attn_implementation(ATTENTION)
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
    """Attention with the interface of transformers.

    With dropout, PyTorch's own attention falls back on matrix products anyway, with overhead; without dropout, its
    backward pass in bfloat16 is several times slower than matrix products."""
    needs_grad = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    # In float32 without dropout PyTorch's kernel is faster.
    slow = dropout > 0 or query.dtype == torch.bfloat16
    if (
        not (needs_grad and slow and _eager_on_cpu(query))
        or options.get("is_causal")
        or options.get("position_bias") is not None
    ):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = fast_dropout(scores.softmax(-1), dropout).to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), None


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014) by `fast_dropout`."""

    def forward(self, states: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return fast_dropout(states, self.p) if self.training else states


def fast_dropout(states: Float[Tensor, "*any"], probability: float) -> Float[Tensor, "*any"]:
    """Sets values to zero with the given probability and scales up the others, so that the expected value is unchanged.

    On a CPU, PyTorch draws 32 random bits per value, one value after the other, which takes longer than the matrix
    products around it. Here 64 random bits decide four values, with the probability rounded to a multiple of 2^-16."""
    if not 0 < probability < 1 or not _eager_on_cpu(states):
        return F.dropout(states, probability)
    count = states.numel()
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    threshold = min(round(probability * LEVELS), LEVELS - 1)
    kept = drawn.view(torch.int16)[:count].view(states.shape) >= threshold - LEVELS // 2
    return states * kept.to(states.dtype).mul_(LEVELS / (LEVELS - threshold))


def _eager_on_cpu(states: Tensor) -> bool:
    return states.device.type == "cpu" and not torch.compiler.is_compiling()
