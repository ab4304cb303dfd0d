"""Attention and dropout on a CPU do what PyTorch's do."""

import pytest
import torch
from transformers import BertConfig, BertModel

from src.backbones.cpu_kernels import ATTENTION, Dropout, fast_dropout, use_cpu_kernels

MASKS = {
    "padded": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]),
    "none": None,
    "packed": torch.tensor([[[[1, 1, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 1]] * 3], [[[1] * 5] * 5]], dtype=torch.bool),
}


def bert(dropout: float = 0.0) -> BertModel:
    torch.manual_seed(0)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    return BertModel(BertConfig(vocab_size=30, **sizes, **rates))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", MASKS)
def test_states_and_gradients_are_those_of_scaled_dot_product_attention(dtype: torch.dtype, mask: str) -> None:
    ids = torch.randint(30, (2, 5))
    found = []
    for fast in (False, True):
        model = bert()
        if fast:
            use_cpu_kernels(model)
            # In float32 matrix products run only with dropout: a rate this small drops nothing here.
            for layer in model.encoder.layer:
                layer.attention.self.dropout.p = 1e-9
            assert model.config._attn_implementation == ATTENTION
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            states = model.train()(ids, attention_mask=MASKS[mask]).last_hidden_state
        states.float().pow(2).mean().backward()
        found.append([states.detach().float(), *(p.grad for n, p in model.named_parameters() if "pooler" not in n)])
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def test_without_gradients_nothing_changes() -> None:
    ids = torch.randint(30, (2, 5))
    plain, fast = bert(0.5).eval(), bert(0.5).eval()
    use_cpu_kernels(fast)
    with torch.inference_mode():
        assert torch.equal(plain(ids).last_hidden_state, fast(ids).last_hidden_state)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_drops_its_rate_and_keeps_the_mean(probability: float) -> None:
    torch.manual_seed(1)
    values = torch.ones(1_000_003, requires_grad=True)
    dropped = fast_dropout(values, probability)
    gone = (dropped == 0).double()
    deviation = (probability * (1 - probability) / len(values)) ** 0.5
    assert abs(gone.mean() - probability) < 5 * deviation
    assert abs(dropped.mean() - 1) < 5 * deviation / (1 - probability)
    for lag in (1, 2, 3, 4):  # four neighbours come from one number
        together = (gone[lag:] * gone[:-lag]).mean()
        assert abs(together - probability**2) < 10 * deviation
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped)


def test_dropout_is_a_function_of_the_random_state() -> None:
    module, values = Dropout(0.3), torch.randn(3, 7)
    torch.manual_seed(2)
    first, second = module(values), module(values)
    torch.manual_seed(2)
    assert torch.equal(module(values), first)
    assert not torch.equal(first, second)
    assert torch.equal(module.eval()(values), values)
    assert torch.equal(fast_dropout(values, 0.0), values)
    assert not fast_dropout(values, 1.0).any()
