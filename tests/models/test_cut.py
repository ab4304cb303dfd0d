"""An encoder that is cut after k layers is the encoder that transformers loads with k layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from src.backbones.loading import load_encoder
from src.models.frozen_prefix import CutError, truncate
from tests.backbones.test_backbones import has_pooler, source_of
from tests.conftest import LAYERS
from tests.models.test_frozen_prefix import CUTTABLE, texts


def with_layers(folder: Path, layers: int) -> transformers.PreTrainedModel:
    """The encoder as transformers loads it with fewer layers."""
    settings = transformers.AutoConfig.from_pretrained(folder)
    settings.num_hidden_layers = layers
    if getattr(settings, "layer_types", None):
        settings.layer_types = settings.layer_types[:layers]
    return transformers.AutoModel.from_pretrained(folder, config=settings).eval()


@pytest.mark.parametrize("architecture", CUTTABLE)
@pytest.mark.parametrize("layers", range(1, LAYERS + 1))
def test_a_cut_encoder_is_the_encoder_with_fewer_layers(
    architecture: str, layers: int, backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = backbone_folder(architecture)
    encoder = load_encoder(source_of(folder), pooler=has_pooler(architecture)).eval()
    ids, mask = texts()
    truncate(encoder, layers)
    encoder.save_pretrained(tmp_path / "saved")
    saved = transformers.AutoModel.from_pretrained(tmp_path / "saved").eval()
    fewer = with_layers(folder, layers)
    assert encoder.config.num_hidden_layers == saved.config.num_hidden_layers == layers
    assert [*encoder.state_dict()] == [*saved.state_dict()]
    with torch.inference_mode():
        found, expected, again = (model(input_ids=ids, attention_mask=mask.long()) for model in (encoder, fewer, saved))
    torch.testing.assert_close(found.last_hidden_state[mask], expected.last_hidden_state[mask], atol=1e-6, rtol=0)
    torch.testing.assert_close(again.last_hidden_state[mask], expected.last_hidden_state[mask], atol=1e-6, rtol=0)
    if has_pooler(architecture):
        torch.testing.assert_close(found.pooler_output, expected.pooler_output, atol=1e-6, rtol=0)


@pytest.mark.parametrize("architecture", CUTTABLE)
def test_a_cut_encoder_returns_the_states_of_the_layers_that_are_left(
    architecture: str, backbone_folder: Callable[[str], Path]
) -> None:
    encoder = load_encoder(source_of(backbone_folder(architecture))).eval()
    ids, mask = texts()
    with torch.inference_mode():
        whole = encoder(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
        truncate(encoder, 2)
        found = encoder(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
    assert len(found.hidden_states) == 3
    torch.testing.assert_close(found.hidden_states[1][mask], whole.hidden_states[1][mask], atol=1e-6, rtol=0)
    if architecture != "modernbert":  # its final norm follows the last layer, whichever that is
        torch.testing.assert_close(found.last_hidden_state[mask], whole.hidden_states[2][mask], atol=1e-6, rtol=0)


def test_shared_layers_cannot_be_cut(backbone_folder: Callable[[str], Path]) -> None:
    with pytest.raises(CutError, match="AlbertModel has no list of layers"):
        truncate(load_encoder(source_of(backbone_folder("albert"))), 1)
