"""Measuring what an epoch costs leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from src.caching.costs import measure
from src.training.build import build
from src.training.inputs import read_inputs
from tests.conftest import composed


@pytest.mark.parametrize("model", ["bert_linear", "bert_bilstm"])
def test_weights_stay_as_they_are_and_are_freed(tiny_bert: Path, tmp_path: Path, model: str) -> None:
    small = (f"backbone.name={tiny_bert}", "data.limit=20", "data.max_length=32", "trainer=cpu", f"cache={tmp_path}")
    cfg = composed(f"model={model}", "freeze=none", *small)
    inputs = read_inputs(cfg)
    module, datamodule = build(inputs.cfg, inputs.settings, inputs.strategy, inputs.source, inputs.corpus)
    datamodule.setup()
    module.enter_phase(0)
    before = {name: weights.detach().clone() for name, weights in module.named_parameters()}
    cost = measure(module, datamodule, inputs.settings, None, trial=True)
    assert cost.seconds
    assert cost.memory > sum(4 * weights.numel() for weights in before.values()) * 4
    for name, weights in module.named_parameters():
        assert torch.equal(weights, before[name])
    kept = [weakref.ref(weights) for weights in module.parameters()]
    del module, datamodule, weights
    gc.collect()
    assert not [weights for weights in kept if weights() is not None]
