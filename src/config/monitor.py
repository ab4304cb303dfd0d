"""Whether lower or higher is better for a metric; used by checkpoints, early stopping, plateaus and searches."""

from __future__ import annotations

from typing import Literal

LESS_IS_BETTER = frozenset({"loss", "ece", "hamming", "mae", "rmse", "perplexity", "unigram_perplexity"})


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
