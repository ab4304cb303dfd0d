"""Faithfulness of attributions: how a label's probability changes when the most important words are masked, or all
others are, compared with words in random order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from src.explanation.scoring import LabelScores
from src.explanation.tokens import Tokens

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)  # ERASER's fractions of the words


GRID = tuple(tenth / 10 for tenth in range(11))  # fractions of the words on the curves


ORDERS = 20  # number of random orders


BAND = (0.05, 0.95)  # quantiles over the random orders


@dataclass(frozen=True)
class Curves:
    """A label's probability over the fraction of words that are masked or kept, for one order or several.

    Args:
        full: the label's probability for the whole text.
        deletion: with the first words masked, at the fractions of the grid.
        insertion: with all but the first words masked.
        comprehensiveness: the drop of the probability when the first words are masked, averaged over ERASER's five
            fractions (DeYoung et al. 2020, AOPC, as the mean over 1, 5, 10, 20 and 50% of the words, rounded up). High
            is good.
        sufficiency: the drop when only these words are kept. Low is good.
    """

    full: float
    deletion: Float[Tensor, "orders grid"]
    insertion: Float[Tensor, "orders grid"]
    comprehensiveness: Float[Tensor, " orders"]
    sufficiency: Float[Tensor, " orders"]

    @property
    def deletion_area(self) -> Float[Tensor, " orders"]:
        """The area under the curve. Low is good."""
        return torch.trapezoid(self.deletion, dx=1 / (len(GRID) - 1))

    @property
    def insertion_area(self) -> Float[Tensor, " orders"]:
        """The area under the curve. High is good."""
        return torch.trapezoid(self.insertion, dx=1 / (len(GRID) - 1))


def by_importance(scores: LabelScores, tokens: Tokens, label: int, values: Float[Tensor, " tokens"]) -> Curves:
    """Returns the curves for words in order of their attribution, the highest first."""
    return _curves(scores, tokens, label, tokens.by_word(values).argsort(descending=True, stable=True)[None])


def at_random(scores: LabelScores, tokens: Tokens, label: int) -> Curves:
    """Returns the curves of random orders of the words."""
    draw = torch.Generator().manual_seed(0)
    return _curves(
        scores, tokens, label, torch.stack([torch.randperm(len(tokens.spans), generator=draw) for _ in range(ORDERS)])
    )


def band(values: Float[Tensor, "orders ..."]) -> Float[Tensor, "2 ..."]:
    """Returns the bounds that contain 90% of the orders."""
    return values.quantile(torch.tensor(BAND), dim=0)


@torch.no_grad()
def _curves(scores: LabelScores, tokens: Tokens, label: int, orders: Int[Tensor, "orders words"]) -> Curves:
    ranks = orders.argsort(1)
    bins, grid = _counts(BINS, len(tokens.spans)), _counts(GRID, len(tokens.spans))
    sizes = sorted({*bins, *grid})
    first = ranks[:, None, :] < torch.tensor(sizes)[None, :, None]
    variants = torch.cat([first, ~first]).flatten(0, 1)  # masked: the first words, or all others
    # Many variants are equal: all orders share their first and last one, and short texts have few.
    distinct, index = torch.unique(tokens.with_masked(variants), dim=0, return_inverse=True)
    probs = scores.probabilities(scores(distinct, tokens))[index, label]
    without, only = probs.view(2, len(orders), len(sizes))
    full = float(scores.probabilities(scores(tokens.ids[None], tokens))[0, label])
    at_bins, at_grid = ([sizes.index(count) for count in counts] for counts in (bins, grid))
    return Curves(
        full,
        without[:, at_grid],
        only[:, at_grid],
        (full - without[:, at_bins]).mean(1),
        (full - only[:, at_bins]).mean(1),
    )


def _counts(fractions: Sequence[float], words: int) -> list[int]:
    # Rounding first, so that 0.1 times 10 words does not become 2.
    return [math.ceil(round(fraction * words, 6)) for fraction in fractions]
