"""Learning-rate schedules: functions of the step, between warm-up and the end of the training."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer

from src.modules.optimizers import Schedule

DIVISOR, LAST_DIVISOR = 25.0, 1e4  # of one cycle: peak / initial learning rate, and initial / final


MOMENTUM = (0.85, 0.95)  # of one cycle, at the peak and at both ends


def linear(optimizer: Optimizer, steps: int, warmup: float) -> Schedule:
    """Linear warm-up over the first `warmup` fraction of the steps, then linear decay to zero."""
    return Schedule(optimizer, lambda step: _rise(step, steps, warmup) * (1 - _progress(step, steps, warmup)))


def cosine(optimizer: Optimizer, steps: int, warmup: float) -> Schedule:
    """Linear warm-up over the first `warmup` fraction of the steps, then cosine decay (Loshchilov & Hutter 2017)."""
    return Schedule(
        optimizer, lambda step: _rise(step, steps, warmup) * _eased(1.0, 0.0, _progress(step, steps, warmup))
    )


def constant(optimizer: Optimizer, steps: int, warmup: float) -> Schedule:
    """Linear warm-up over the first `warmup` fraction of the steps, then a constant learning rate."""
    return Schedule(optimizer, lambda step: _rise(step, steps, warmup))


def one_cycle(optimizer: Optimizer, steps: int, rise: float) -> Schedule:
    """One cycle (Smith & Topin 2018): up to the peak over the first `rise` fraction of the steps, then down to nearly
    zero; momentum is cycled inversely."""
    peak = min(round(steps * rise), max(0, steps - 2))  # a whole step other than the last, so that the peak is reached
    low, high = MOMENTUM

    def between(first: float, middle: float, last: float) -> Callable[[int], float]:
        def at(step: int) -> float:
            if step < peak:
                return _eased(first, middle, step / peak)
            return _eased(middle, last, min(1.0, (step - peak) / max(1, steps - 1 - peak)))

        return at

    factors = between(1 / DIVISOR, 1.0, 1 / DIVISOR / LAST_DIVISOR)
    return Schedule(optimizer, factors, between(high, low, high))


def _eased(start: float, end: float, progress: float) -> float:
    """Interpolates from start to end along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


def _ramp(steps: int, warmup: float) -> int:
    """Returns the number of warm-up steps, at most all but the last step."""
    return min(round(steps * warmup), max(0, steps - 1))


def _rise(step: int, steps: int, warmup: float) -> float:
    # The warm-up starts above zero, so that no step is wasted.
    return min(1.0, (step + 1) / (_ramp(steps, warmup) + 1))


def _progress(step: int, steps: int, warmup: float) -> float:
    ramp = _ramp(steps, warmup)
    return min(1.0, max(0.0, (step - ramp) / max(1, steps - ramp)))
