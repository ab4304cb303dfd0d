"""Prefix and suffix together are the whole encoder, for every architecture and depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from src.backbones.loading import load_encoder
from src.models.frozen_prefix import CutError, cut
from tests.backbones.test_backbones import has_pooler, source_of
from tests.conftest import ARCHITECTURES, LAYERS

CUTTABLE = tuple(a for a in ARCHITECTURES if a != "albert")


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(5, 90, (4, 21))
    mask = torch.arange(21) < torch.tensor([21, 3, 17, 9])[:, None]
    return ids.masked_fill(~mask, 0), mask


@pytest.mark.parametrize("architecture", CUTTABLE)
@pytest.mark.parametrize("layers", range(LAYERS + 1))
def test_the_suffix_of_the_prefix_is_the_whole_encoder(
    architecture: str, layers: int, backbone_folder: Callable[[str], Path]
) -> None:
    encoder = load_encoder(source_of(backbone_folder(architecture)), pooler=has_pooler(architecture)).eval()
    names = [name for name, _ in encoder.named_parameters()]
    prefix, suffix = cut(encoder, layers)
    ids, mask = texts()
    with torch.inference_mode():
        whole = encoder(input_ids=ids, attention_mask=mask.long())
        states = prefix(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        # The states at padded positions do not matter.
        states = states.masked_fill(~mask[:, :, None], 0.0)
        found = suffix(inputs_embeds=states, attention_mask=mask.long())
    torch.testing.assert_close(found.last_hidden_state[mask], whole.last_hidden_state[mask], atol=1e-5, rtol=1e-5)
    if has_pooler(architecture):
        torch.testing.assert_close(found.pooler_output, whole.pooler_output, atol=1e-5, rtol=1e-5)
    assert [name for name, _ in encoder.named_parameters()] == names


@pytest.mark.parametrize("architecture", CUTTABLE)
def test_training_the_suffix_trains_the_encoder_above_the_cut_only(
    architecture: str, backbone_folder: Callable[[str], Path]
) -> None:
    encoder = load_encoder(source_of(backbone_folder(architecture)))
    prefix, suffix = cut(encoder, 2)
    ids, mask = texts()
    states = prefix(input_ids=ids, attention_mask=mask.long()).last_hidden_state.detach()
    suffix(inputs_embeds=states, attention_mask=mask.long()).last_hidden_state.square().sum().backward()
    reached = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert any("layer.2." in f"{name}." or "layers.2." in name for name in reached)
    assert not any(f"{kind}.{i}." in name for name in reached for kind in ("layer", "layers") for i in (0, 1))


def test_shared_layers_cannot_be_cut(backbone_folder: Callable[[str], Path]) -> None:
    with pytest.raises(CutError, match="AlbertModel has no list of layers"):
        cut(load_encoder(source_of(backbone_folder("albert"))), 1)
    assert not isinstance(cut(load_encoder(source_of(backbone_folder("bert"))), 0)[0], nn.ModuleList)
