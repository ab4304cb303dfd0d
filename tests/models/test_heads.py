"""Heads and whole networks: padding never changes a logit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from src.backbones.loading import load_encoder
from src.data.labels import LabelSpace
from src.freezing.strategy import Stage
from src.freezing.whole_stages import Nothing
from src.models.heads import BiLSTMHead, LinearHead, MaskedLanguageHead, MixedHead, logits_of, pool_states
from src.models.masked_language import load_head
from src.modules.classifier import TextClassifier
from tests.backbones.test_backbones import has_pooler, save_with_old_names, source_of
from tests.conftest import ARCHITECTURES, CONFIGS, WIDTH


def bilstm(pooling: str, layers: int = 2) -> BiLSTMHead:
    torch.manual_seed(0)
    return BiLSTMHead(WIDTH, 3, hidden_size=5, layers=layers, pooling=pooling, dropout=0.2).eval()


@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
def test_the_bilstm_equals_torchs_on_packed_sequences(pooling: str) -> None:
    head = bilstm(pooling, layers=1)
    reference = nn.LSTM(WIDTH, 5, batch_first=True, bidirectional=True)
    for name, parameter in head.rightward[0].named_parameters():
        getattr(reference, name).data.copy_(parameter)
        getattr(reference, f"{name}_reverse").data.copy_(getattr(head.leftward[0], name))
    states, lengths = torch.randn(4, 9, WIDTH), torch.tensor([9, 1, 4, 6])
    mask = torch.arange(9) < lengths[:, None]
    packed = nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
    outputs, (last, _) = reference(packed)
    padded, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    pooled = torch.cat([last[0], last[1]], 1) if pooling == "last" else pool_states(padded, mask, pooling)
    torch.testing.assert_close(head(states, mask), head.linear(pooled), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
def test_padding_never_changes_a_bilstm_logit(pooling: str) -> None:
    head = bilstm(pooling)
    states = torch.randn(2, 6, WIDTH)
    alone = head(states, torch.ones(2, 6, dtype=torch.bool))
    padded = torch.cat([states, torch.full((2, 7, WIDTH), 50.0)], 1)
    mask = torch.arange(13).expand(2, 13) < 6
    torch.testing.assert_close(head(padded, mask), alone, atol=1e-6, rtol=1e-5)


def test_pooling_passes_over_padding() -> None:
    states = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[True, True, False]])
    assert [float(pool_states(states, mask, p)) for p in ("mean", "max", "cls")] == [2.0, 3.0, 1.0]


class Counting(nn.Module):
    """A head of one's own that reads tokens, and so need not pool."""

    reads = "tokens"

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return mask.sum(1, keepdim=True) * states[:, 0]


def test_a_mix_of_layers_goes_with_a_head_that_does_not_pool() -> None:
    states, mask = torch.randn(2, 5, WIDTH), torch.ones(2, 5, dtype=torch.bool)
    output = SimpleNamespace(hidden_states=[states, 3 * states])
    mixed = logits_of(MixedHead(Counting(), layers=2), output, mask, all_layers=True)
    torch.testing.assert_close(mixed, 5 * 2 * states[:, 0])  # the mean of both layers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("head_name", ["mean", "cls", "pooler", "bilstm"])
def test_padding_never_changes_a_logit_of_the_whole_network(
    architecture: str, head_name: str, backbone_folder: Callable[[str], Path]
) -> None:
    if head_name == "pooler" and not has_pooler(architecture):
        return
    source = source_of(backbone_folder(architecture))
    encoder = load_encoder(source, pooler=head_name == "pooler")
    head = bilstm("max") if head_name == "bilstm" else LinearHead(WIDTH, 3, pooling=head_name, dropout=0.1)
    stages = [Stage("head", tuple(f"head.{n}" for n, _ in head.named_parameters()))]
    space = LabelSpace("multiclass", ("a", "b", "c"))
    module = TextClassifier(encoder, head, stages, Nothing().phases(stages), None, space).eval()
    ids = torch.randint(5, 90, (2, 11))
    mask = torch.ones(2, 11, dtype=torch.bool)
    alone = module({"input_ids": ids, "mask": mask})
    padded = module({"input_ids": nn.functional.pad(ids, (0, 7)), "mask": nn.functional.pad(mask, (0, 7))})
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("old", [True, False])
def test_the_masked_language_head_of_a_checkpoint_is_loaded(old: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pretrained = AutoModelForMaskedLM.from_config(CONFIGS["bert"](90)).eval()
    nn.init.normal_(pretrained.cls.predictions.transform.LayerNorm.weight)
    pretrained.save_pretrained(tmp_path)
    if old:
        save_with_old_names(tmp_path)
    head = MaskedLanguageHead(WIDTH, WIDTH, 90)
    assert load_head(source_of(tmp_path), head)
    states = torch.randn(4, WIDTH)
    embeddings = pretrained.get_input_embeddings().weight
    torch.testing.assert_close(head(states, embeddings), pretrained.cls(states))
