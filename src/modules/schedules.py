"""Learning-rate schedules: functions of the step, between warm-up and the end of the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch.optim import Optimizer

from src.modules.optimizers import Schedule

if TYPE_CHECKING:
    pass

DIVISOR, LAST_DIVISOR = 25.0, 1e4  # of one cycle: the peak by the first rate, and that by the last


MOMENTUM = (0.85, 0.95)  # of one cycle, at the peak and at both ends


def linear(optimizer: Optimizer, steps: int, warmup: float) -> Schedule:
    """Up linearly over the first `warmup` share of the steps, then down linearly to zero at the last."""
    return Schedule(optimizer, lambda step: _rise(step, steps, warmup) * (1 - _progress(step, steps, warmup)))


def cosine(optimizer: Optimizer, steps: int, warmup: float) -> Schedule:
    """Up linearly over the first `warmup` share of the steps, then half a cosine down (Loshchilov & Hutter 2017)."""
    return Schedule(
        optimizer, lambda step: _rise(step, steps, warmup) * _eased(1.0, 0.0, _progress(step, steps, warmup))
    )


def constant(optimizer: Optimizer, steps: int, warmup: float) -> Schedule:
    """Up linearly over the first `warmup` share of the steps, then the same rate to the end."""
    return Schedule(optimizer, lambda step: _rise(step, steps, warmup))


def one_cycle(optimizer: Optimizer, steps: int, rise: float) -> Schedule:
    """Up to each group's rate over the first `rise` share of the steps, then far below at the last; momentum goes the
    other way (Smith & Topin 2018)."""
    peak = min(round(steps * rise), max(0, steps - 2))  # a step, so that the rate is reached, and not the last
    low, high = MOMENTUM

    def between(first: float, middle: float, last: float) -> Callable[[int], float]:
        def at(step: int) -> float:
            if step < peak:
                return _eased(first, middle, step / peak)
            return _eased(middle, last, min(1.0, (step - peak) / max(1, steps - 1 - peak)))

        return at

    rates = between(1 / DIVISOR, 1.0, 1 / DIVISOR / LAST_DIVISOR)
    return Schedule(optimizer, rates, between(high, low, high))


def _eased(start: float, end: float, progress: float) -> float:
    """From start to end by half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _ramp(steps: int, warmup: float) -> int:
    """How many steps the rate rises for: at least the last one has it whole."""
    return min(round(steps * warmup), max(0, steps - 1))


def _rise(step: int, steps: int, warmup: float) -> float:
    # The first step counts as one, so that no step is wasted at a rate of zero.
    return min(1.0, (step + 1) / (_ramp(steps, warmup) + 1))


def _progress(step: int, steps: int, warmup: float) -> float:
    ramp = _ramp(steps, warmup)
    return min(1.0, max(0.0, (step - ramp) / max(1, steps - ramp)))
