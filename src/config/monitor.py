"""Which way a metric gets better: the best epoch, early stopping, plateaus and searches all go by it."""

from __future__ import annotations

from typing import Literal

LESS_IS_BETTER = frozenset({"loss", "ece", "hamming", "perplexity", "unigram_perplexity"})


Mode = Literal["min", "max"]


def best_mode(metric: str) -> Mode:
    """Whether the lowest or the highest value of a metric is the best.

    Args:
        metric: with or without its split, such as `validation/loss`.
    """
    return "min" if metric.rpartition("/")[2] in LESS_IS_BETTER else "max"


def sign(metric: str) -> int:
    """What a value of the metric is multiplied with so that more is better."""
    return 1 if best_mode(metric) == "max" else -1


def resolved(mode: str, metric: str) -> Mode:
    """
    Args:
        mode: `auto`, or the mode that the metric has in any case.
        metric: that is watched.

    Raises:
        ValueError: the mode would look for the worst value.
    """
    found = best_mode(metric)
    if mode not in ("auto", found):
        raise ValueError(contradiction(mode, metric))
    return found


def contradiction(mode: str, metric: str) -> str:
    """What is wrong with a mode that does not suit the metric."""
    kind = "less" if best_mode(metric) == "min" else "more"
    return f"mode must be auto or {best_mode(metric)} for {metric}, of which {kind} is better; got {mode}"
