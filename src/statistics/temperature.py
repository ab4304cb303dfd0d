"""The temperature that logits are divided by, so that probabilities are as high as they are often right (Guo et al.
2017)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from src.arrays import NDArray

LOGARITHMS = (-5.0, 5.0)  # between which the temperature is looked for: 0.0067 to 148

Logits = Float[NDArray[np.floating], "texts choices"]
Right = Int[NDArray[np.integer], " texts"]


def negative_log_likelihood(logits: Logits, right: Right) -> float:
    """Returns the mean over the texts, in nats.

    Args:
        logits: of the choices of each text.
        right: the index of each text's right choice.
    """
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(right)), right]).mean())


def least_loss(logits: Logits, right: Right) -> float:
    """Returns the temperature with the least negative log-likelihood. There is one at most: the likelihood is concave
    in its inverse.

    Args:
        logits: of the choices of each text, in double precision.
        right: the index of each text's right choice.
    """
    found = minimize_scalar(
        lambda logarithm: negative_log_likelihood(logits * math.exp(-logarithm), right),
        bounds=LOGARITHMS,
        method="bounded",
    )
    return math.exp(float(found.x))


def why_none(logits: Logits, right: Right) -> str | None:
    """Returns why texts do not say which temperature is right; None if they do.

    Args:
        logits: of the choices of each text, or of each text and label.
        right: the index of each right choice.
    """
    if right.min() == right.max():
        return "all have the same label, or of several labels all or none"
    coldest, hottest = map(math.exp, LOGARITHMS)
    tiny = 1e-9 * float(np.abs(logits).max())
    if _slope(logits, right, 1 / hottest) > -tiny:
        return "the predictions are hardly better than chance"
    if _slope(logits, right, 1 / coldest) < tiny:
        return "hardly any is predicted wrongly, so that all probabilities below 1 would seem too low"
    return None


def _slope(logits: Logits, right: Right, power: float) -> float:
    """The derivative of the loss by the inverse temperature; it only grows with it."""
    expected = (softmax(power * logits, axis=1) * logits).sum(1)
    return float((expected - logits[np.arange(len(right)), right]).mean())
