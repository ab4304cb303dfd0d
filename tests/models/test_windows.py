"""A document's logits are those of its windows, combined; however many are computed at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.backbones import loading
from src.backbones.source import read_source
from src.models.heads import BiLSTMHead, LinearHead
from src.models.networks import label_logits
from src.models.windows import combine_windows
from tests.conftest import ARCHITECTURES

COUNTS = torch.tensor([2, 1, 3])


def test_mean_and_maximum_are_those_of_each_documents_windows() -> None:
    logits = torch.tensor([[1.0, -2.0], [3.0, -8.0], [-5.0, -7.0], [0.0, 1.0], [2.0, 0.0], [4.0, -4.0]])
    assert combine_windows(logits, COUNTS, "mean").tolist() == [[2, -5], [-5, -7], [2, -1]]
    assert combine_windows(logits, COUNTS, "max").tolist() == [[3, -2], [-5, -7], [4, 1]]


def test_attention_is_a_mean_weighted_by_a_softmax_within_the_document() -> None:
    logits = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-5.0, 9.0], [1.0, 50.0], [2.0, 0.0], [4.0, -50.0]])
    torch.testing.assert_close(combine_windows(logits, COUNTS, "attention"), torch.tensor([[2.0], [-5.0], [1.0]]))


def test_with_a_linear_head_attention_pools_the_windows_vectors() -> None:
    torch.manual_seed(0)
    head, vectors = LinearHead(8, 4, "mean", 0.0), torch.randn(6, 8)
    found = combine_windows(head(vectors), COUNTS, "attention")
    weight, bias = head.linear.weight, head.linear.bias
    for document, part in zip(found, vectors.split(COUNTS.tolist()), strict=True):
        scores = (part @ weight[3] + bias[3]).softmax(0)
        torch.testing.assert_close(document, weight[:3] @ (scores @ part) + bias[:3])


HEADS: dict[str, Callable[[int], torch.nn.Module]] = {
    "linear": lambda width: LinearHead(width, 3, "mean", 0.1),
    "bilstm": lambda width: BiLSTMHead(width, 3, 4, 1, "max", 0.1),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_turns_change_neither_logits_nor_gradients(
    architecture: str, head: str, backbone_folder: Callable[[str], Path]
) -> None:
    encoder = loading.load_encoder(read_source(backbone_folder(architecture), architecture), pooler=False)
    torch.manual_seed(0)
    reader = HEADS[head](encoder.config.hidden_size)
    ids = torch.randint(5, 300, (11, 9))
    mask = torch.arange(9) < torch.tensor([9, 9, 4, 9, 9, 9, 9, 9, 2, 9, 7])[:, None]
    counts = torch.tensor([3, 6, 2])
    batch = {"input_ids": ids, "mask": mask, "windows": counts}
    parameters = [*encoder.parameters(), *reader.parameters()]

    def gradients(logits: torch.Tensor) -> list[Any]:
        return list(torch.autograd.grad(logits.square().sum(), parameters, allow_unused=True))

    encoder.eval(), reader.eval()
    found = label_logits(encoder, reader, batch)
    windows = label_logits(encoder, reader, {"input_ids": ids, "mask": mask})
    expected = torch.stack([part.mean(0) for part in windows.split(counts.tolist())])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    for one, other in zip(gradients(found), gradients(expected), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_dropout_is_the_same_when_a_turn_is_computed_again(tiny_bert: Path) -> None:
    """Else the gradient would be that of another loss than the one that was measured."""
    encoder = loading.load_encoder(read_source(tiny_bert, "bert"), pooler=False).train()
    head = LinearHead(16, 2, "mean", 0.5).train()
    batch = {"input_ids": torch.randint(5, 300, (6, 7)), "mask": torch.ones(6, 7).bool(), "windows": torch.tensor([6])}
    torch.manual_seed(3)
    (found,) = torch.autograd.grad(label_logits(encoder, head, batch)[0, 0], head.linear.weight)
    torch.manual_seed(3)
    rows = [label_logits(encoder, head, {"input_ids": ids[None], "mask": ids[None] > 0}) for ids in batch["input_ids"]]
    (expected,) = torch.autograd.grad(torch.cat(rows).mean(0)[0], head.linear.weight)
    torch.testing.assert_close(found, expected)
    assert expected.eq(0).any()  # by dropout


def test_memory_for_gradients_does_not_grow_with_windows(tiny_bert: Path) -> None:
    encoder = loading.load_encoder(read_source(tiny_bert, "bert"), pooler=False).train()
    head = LinearHead(16, 2, "mean", 0.0)

    def kept(windows: int) -> int:
        batch = {"input_ids": torch.randint(5, 300, (windows, 40)), "mask": torch.ones(windows, 40).bool()}
        saved: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            saved.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            label_logits(encoder, head, {**batch, "windows": torch.tensor([windows // 2, windows - windows // 2])})
        return sum(saved)

    assert kept(40) < kept(2) / 4
