"""FLOPs of training steps, counted while they run."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from src.datamodules.ragged import Batch

SAMPLE = 5  # how many steps of a phase are counted; the others are extrapolated


# The attributes of `StepFlops`, by their keys in checkpoints.
STATE = {"steps": "steps", "counted": "counted", "counted_places": "counted_tokens", "places": "tokens"}


def counter() -> FlopCounterMode:
    """Returns PyTorch's FLOP counter, extended by LSTMs, and by attention on a CPU."""
    return FlopCounterMode(display=False, custom_mapping=_unknown_to_pytorch())


def batch_tokens(batch: Batch) -> int:
    """Returns the tokens of a batch, padding included; the number of texts if each is one pooled vector."""
    return batch["mask"].numel() if "mask" in batch else len(batch["rows"])


class StepFlops:
    """FLOPs of a phase's steps, forward and backward: counted in the first steps, and extrapolated to the others in
    proportion to the tokens of their batches."""

    def __init__(self) -> None:
        self.begin_phase()
        self._counting = ExitStack()
        self._counter: FlopCounterMode | None = None

    def begin_phase(self) -> None:
        self.steps = self.counted = self.counted_tokens = self.tokens = 0

    def begin_step(self, batch: Batch) -> None:
        self.tokens += batch_tokens(batch)
        if self.steps < SAMPLE:
            self.counted_tokens += batch_tokens(batch)
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
        return self.counted * self.tokens / self.counted_tokens if self.counted_tokens else 0.0

    def state_dict(self) -> dict[str, int]:
        return {key: getattr(self, name) for key, name in STATE.items()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        for key, value in state.items():
            setattr(self, STATE[key], value)


def _unknown_to_pytorch() -> dict[Any, Any]:
    def lstm(
        states: Any, input_weights: Any, state_weights: Any, *rest: Any, out_shape: Any = None, **options: Any
    ) -> int:
        return int(2 * math.prod(states[:2]) * (math.prod(input_weights) + math.prod(state_weights)))

    def cuda_lstm(states: Any, size: int) -> int:  # of one layer in one direction, as all are here
        return int(2 * math.prod(states[:2]) * 4 * size * (states[2] + size))

    def attention(query: Any, key: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
        return int(4 * math.prod(query) * key[-2])

    aten: Any = torch.ops.aten
    return {
        aten.mkldnn_rnn_layer: lstm,
        aten.mkldnn_rnn_layer_backward: lambda *shapes, **options: 2 * lstm(*shapes, **options),
        aten._cudnn_rnn: lambda states, *rest, **options: cuda_lstm(states, rest[6]),
        aten._cudnn_rnn_backward: lambda states, *rest, **options: 2 * cuda_lstm(states, rest[10]),
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        # Five matrix products instead of two: the backward pass recomputes the attention weights.
        aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda gradient, query, key, *rest, **options: attention(query, key) * 5 // 2
        ),
    }
