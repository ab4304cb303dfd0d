"""Floating-point operations: what a step does, counted while it runs."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from src.datamodules.batching import Batch

SAMPLE = 5  # steps of a phase that are counted


def counter() -> FlopCounterMode:
    """PyTorch's counter, which also knows LSTMs and attention on a processor."""
    return FlopCounterMode(display=False, custom_mapping=_unknown_to_pytorch())


def places(batch: Batch) -> int:
    """What the work on a batch grows with: its tokens with their padding, or its texts where each is one vector."""
    return batch["mask"].numel() if "mask" in batch else len(batch["rows"])


class StepOperations:
    """The operations of a phase's steps, forward and backward: counted in the first few, and taken to grow with the
    places of the batch in all others."""

    def __init__(self) -> None:
        self.begin_phase()
        self._counting = ExitStack()
        self._counter: FlopCounterMode | None = None

    def begin_phase(self) -> None:
        self.steps = self.counted = self.counted_places = self.places = 0

    def begin_step(self, batch: Batch) -> None:
        self.places += places(batch)
        if self.steps < SAMPLE:
            self.counted_places += places(batch)
            self._counter = self._counting.enter_context(counter())
        self.steps += 1

    def end_step(self) -> None:
        """Called after the backward pass, and when a step has failed."""
        if self._counter:
            self._counting.close()
            self.counted += self._counter.get_total_flops()
            self._counter = None

    @property
    def total(self) -> float:
        return self.counted * self.places / self.counted_places if self.counted_places else 0.0

    def state_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("steps", "counted", "counted_places", "places")}

    def load_state_dict(self, state: dict[str, int]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _unknown_to_pytorch() -> dict[Any, Any]:
    def lstm(
        states: Any, input_weights: Any, state_weights: Any, *rest: Any, out_shape: Any = None, **options: Any
    ) -> int:
        return int(2 * math.prod(states[:2]) * (math.prod(input_weights) + math.prod(state_weights)))

    def attention(query: Any, key: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
        return int(4 * math.prod(query) * key[-2])

    aten: Any = torch.ops.aten
    return {
        aten.mkldnn_rnn_layer: lstm,
        aten.mkldnn_rnn_layer_backward: lambda *shapes, **options: 2 * lstm(*shapes, **options),
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        # Five products instead of two: the backward pass computes the weights of the attention again.
        aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda gradient, query, key, *rest, **options: attention(query, key) * 5 // 2
        ),
    }
