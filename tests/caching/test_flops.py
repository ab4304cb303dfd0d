"""FLOPs are the same on every device."""

from __future__ import annotations

import torch
from torch import nn

from src.caching.flops import counter


def test_an_lstm_takes_the_same_products_on_a_gpu() -> None:
    texts, tokens, width, size = 3, 7, 5, 4
    lstm, states = nn.LSTM(width, size, batch_first=True), torch.randn(texts, tokens, width, requires_grad=True)
    with counter() as on_cpu:
        torch.autograd.backward(lstm(states)[0].sum())
    products = 2 * texts * tokens * 4 * size * (width + size)
    assert on_cpu.get_total_flops() == 3 * products

    def meta(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    given = [meta(texts, tokens, width), [meta(*weight.shape) for weight in lstm.parameters()], 4, None]
    state = [meta(1, texts, size), meta(1, texts, size)]
    with counter() as on_gpu:  # what cuDNN is called with; 2: an LSTM
        torch.ops.aten._cudnn_rnn(*given, *state, 2, size, 0, 1, True, 0.0, True, False, [], None)
    assert on_gpu.get_total_flops() == products
