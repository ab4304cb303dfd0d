"""Whether lower or higher is better for a metric; used by checkpoints, early stopping, plateaus, searches and
comparisons."""

from __future__ import annotations

import math
from typing import Literal

LESS_IS_BETTER = frozenset({"loss", "ece", "hamming", "mae", "rmse", "perplexity", "unigram_perplexity"})


# Losses of different kinds, and perplexities of different tokenizers, are no measure of which model is better.
NOT_COMPARED = frozenset({"loss", "perplexity", "unigram_perplexity"})


# Errors in the units of the targets, without an upper bound.
IN_UNITS = frozenset({"mae", "rmse"})


MARGIN = 0.01  # of a score; of an error in the units of the targets, this many of their standard deviations


Mode = Literal["min", "max"]


def best_mode(metric: str) -> Mode:
    """Returns `min` where lower values of a metric are better, `max` where higher ones are.

    Args:
        metric: with or without its split, such as `validation/loss`.
    """
    return "min" if (metric.partition("/")[2] or metric) in LESS_IS_BETTER else "max"


def sign(metric: str) -> int:
    """Returns the factor that makes higher values of the metric better: 1 or -1."""
    return 1 if best_mode(metric) == "max" else -1


def worse_side(metric: str) -> str:
    """Returns on which side of the best score the others are: `below` or `above`."""
    return "below" if best_mode(metric) == "max" else "above"


def shown(value: float, metric: str, plus: bool = False) -> str:
    """Returns a score, or a difference of two, as text: with three decimals, or where the targets decide how large it
    is, with four digits.

    Args:
        value: the score.
        metric: its name.
        plus: put a plus before positive values.
    """
    mark = "+" if plus else ""
    if metric not in IN_UNITS:
        return f"{value:{mark}.3f}"
    return f"{value:{mark},.0f}" if abs(value) >= 1_000 else f"{value:{mark}.4g}"


def at_most(value: float, metric: str) -> str:
    """Returns what a score, or a difference of two, is at most, as `shown` does, but rounded up: 0.0104 is not at most
    0.010."""
    digits = 3 if metric not in IN_UNITS or value <= 0 else max(0, 3 - math.floor(math.log10(value)))
    scale = 10**digits
    return shown(math.ceil(value * scale - 1e-6) / scale, metric)  # what is exact up to rounding stays


def resolved(mode: str, metric: str) -> Mode:
    """Returns the mode of a monitored metric.

    Args:
        mode: `auto`, `min` or `max`.
        metric: that is monitored.

    Raises:
        ValueError: the mode would select the worst value.
    """
    found = best_mode(metric)
    if mode not in ("auto", found):
        raise ValueError(contradiction(mode, metric))
    return found


def contradiction(mode: str, metric: str) -> str:
    """Returns the message for a mode that would select the worst value of the metric."""
    better = "lower" if best_mode(metric) == "min" else "higher"
    return f"mode must be auto or {best_mode(metric)} for {metric}, since {better} is better; got {mode}"
