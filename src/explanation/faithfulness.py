"""Whether importance is true: what happens to a label's probability when the words that are said to matter are hidden,
or kept alone, beside words in random order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from src.explanation.scoring import LabelScores
from src.explanation.tokens import Tokens

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)  # ERASER's shares of words


GRID = tuple(tenth / 10 for tenth in range(11))  # of the curves


ORDERS = 20  # random ones


BAND = (0.05, 0.95)  # quantiles of what random orders come to


@dataclass(frozen=True)
class Curves:
    """A label's probability over the share of words that have been hidden or uncovered, in one order or several.

    Args:
        full: the label's probability for the whole text.
        deletion: with the first words hidden, at the shares of the grid.
        insertion: with only the first words left.
        comprehensiveness: by how much hiding the first words lowers the probability, averaged over ERASER's five shares
            (DeYoung et al. 2020, AOPC, as the mean over 1, 5, 10, 20 and 50% of the words, rounded up). High is good.
        sufficiency: the same for leaving only these words. Low is good.
    """

    full: float
    deletion: Float[Tensor, "orders grid"]
    insertion: Float[Tensor, "orders grid"]
    comprehensiveness: Float[Tensor, " orders"]
    sufficiency: Float[Tensor, " orders"]

    @property
    def deletion_area(self) -> Float[Tensor, " orders"]:
        """The mean height of the curve. Low is good."""
        return torch.trapezoid(self.deletion, dx=1 / (len(GRID) - 1))

    @property
    def insertion_area(self) -> Float[Tensor, " orders"]:
        """The mean height of the curve. High is good."""
        return torch.trapezoid(self.insertion, dx=1 / (len(GRID) - 1))


def by_importance(scores: LabelScores, tokens: Tokens, label: int, values: Float[Tensor, " tokens"]) -> Curves:
    """The curves of the order that an attribution gives: the word that adds most to the label first."""
    return _curves(scores, tokens, label, tokens.by_word(values).argsort(descending=True, stable=True)[None])


def at_random(scores: LabelScores, tokens: Tokens, label: int, seed: int = 0) -> Curves:
    """The curves of random orders of the words."""
    draw = torch.Generator().manual_seed(seed)
    return _curves(
        scores, tokens, label, torch.stack([torch.randperm(len(tokens.spans), generator=draw) for _ in range(ORDERS)])
    )


def band(values: Float[Tensor, "orders ..."]) -> Float[Tensor, "2 ..."]:
    """Within which nine tenths of the orders lie."""
    return values.quantile(torch.tensor(BAND), dim=0)


@torch.no_grad()
def _curves(scores: LabelScores, tokens: Tokens, label: int, orders: Int[Tensor, "orders words"]) -> Curves:
    ranks = orders.argsort(1)
    bins, grid = _counts(BINS, len(tokens.spans)), _counts(GRID, len(tokens.spans))
    sizes = sorted({*bins, *grid})
    first = ranks[:, None, :] < torch.tensor(sizes)[None, :, None]
    variants = torch.cat([first, ~first]).flatten(0, 1)  # hidden: the first words, or all others
    # Short texts have few variants, and every order begins and ends alike.
    distinct, place = torch.unique(tokens.without(variants), dim=0, return_inverse=True)
    probs = scores.probabilities(scores(distinct, tokens.mask))[place, label]
    without, only = probs.view(2, len(orders), len(sizes))
    full = float(scores.probabilities(scores(tokens.ids[None], tokens.mask))[0, label])
    at_bins, at_grid = ([sizes.index(count) for count in counts] for counts in (bins, grid))
    return Curves(
        full,
        without[:, at_grid],
        only[:, at_grid],
        (full - without[:, at_bins]).mean(1),
        (full - only[:, at_bins]).mean(1),
    )


def _counts(shares: Sequence[float], words: int) -> list[int]:
    # Rounding first: 0.1 times 10 words must not become 2 of them.
    return [math.ceil(round(share * words, 6)) for share in shares]
