"""Attribution of a label's score to tokens: integrated gradients, gradient times input, occlusion.

All return logits per label and token, exactly 0 for special tokens and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from src.explanation.scoring import ROWS, LabelScores
from src.explanation.tokens import Tokens

FIRST_STEPS, MOST_STEPS = 32, 512  # of integrated gradients


TOLERANCE = 0.02  # maximum relative difference between the sum of the values and the change of the score


@dataclass(frozen=True)
class Attribution:
    """How much each token contributes to the scores of some labels.

    Args:
        values: in logits.
        change: of each label's score from the fully masked text to the text: the sum of the values if the method
            satisfies completeness.
        steps: of integrated gradients; 0 for other methods.
    """

    values: Float[Tensor, "labels tokens"]
    change: Float[Tensor, " labels"]
    steps: int = 0

    @property
    def missing(self) -> Float[Tensor, " labels"]:
        """The relative difference between the sum of the values and the change."""
        return (self.values.sum(1) - self.change).abs() / self.change.abs().clamp_min(1e-9)


def integrated_gradients(scores: LabelScores, tokens: Tokens, labels: Sequence[int]) -> Attribution:
    """Integrated gradients over the token embeddings (Sundararajan et al. 2017, eq. 1), with the fully
    masked text as the baseline. The integral is a Gauss-Legendre sum, whose steps double until the sum of the values
    is within 2% of the change of the score, or there are 512."""
    steps = FIRST_STEPS
    while True:
        found = _integrate(scores, tokens, labels, steps)
        if steps >= MOST_STEPS or bool((found.missing < TOLERANCE).all()):
            return found
        steps *= 2


def _integrate(scores: LabelScores, tokens: Tokens, labels: Sequence[int], steps: int) -> Attribution:
    # Gradients are needed even in the caller's inference mode.
    with torch.inference_mode(False), torch.enable_grad():
        vectors, baseline = scores.embed(tokens.ids), scores.embed(tokens.masked)
        points, weights = (torch.tensor(a).float() for a in np.polynomial.legendre.leggauss(steps))
        path = baseline + ((points + 1) / 2)[:, None, None] * (vectors - baseline)
        gradients = torch.zeros(len(labels), *vectors.shape)
        for start in range(0, steps, ROWS):
            part, weight = path[start : start + ROWS].requires_grad_(), weights[start : start + ROWS] / 2
            found = scores.of_vectors(part, tokens)
            for index, label in enumerate(labels):
                (gradient,) = torch.autograd.grad(found[:, label].sum(), part, retain_graph=index + 1 < len(labels))
                gradients[index] += torch.einsum("s,stw->tw", weight, gradient)
    values = (gradients * (vectors - baseline)).sum(-1)
    return Attribution(values * ~tokens.special, _change(scores, tokens, labels), steps)


def gradient_input(scores: LabelScores, tokens: Tokens, labels: Sequence[int]) -> Attribution:
    """Gradient times input (Shrikumar et al. 2017): the score's gradient times the token embeddings."""
    with torch.inference_mode(False), torch.enable_grad():
        vectors = scores.embed(tokens.ids)[None].requires_grad_()
        found = scores.of_vectors(vectors, tokens)[0]
        gradients = [torch.autograd.grad(found[label], vectors, retain_graph=True)[0][0] for label in labels]
    values = (torch.stack(gradients) * vectors[0].detach()).sum(-1)
    return Attribution(values * ~tokens.special, _change(scores, tokens, labels))


@torch.no_grad()
def occlusion(scores: LabelScores, tokens: Tokens, labels: Sequence[int]) -> Attribution:
    """Occlusion (Zeiler & Fergus 2014): how much the score drops when one token is masked."""
    positions = (~tokens.special).nonzero().flatten()
    variants = tokens.ids.repeat(len(positions) + 1, 1)
    variants[torch.arange(len(positions)), positions] = tokens.mask_id
    found = scores(variants, tokens)[:, list(labels)]
    values = torch.zeros(len(labels), len(tokens.ids))
    values[:, positions] = (found[-1] - found[:-1]).T
    return Attribution(values, _change(scores, tokens, labels))


@torch.no_grad()
def _change(scores: LabelScores, tokens: Tokens, labels: Sequence[int]) -> Float[Tensor, " labels"]:
    text, masked = scores(torch.stack([tokens.ids, tokens.masked]), tokens)[:, list(labels)]
    change: Tensor = text - masked
    return change


METHODS = {"integrated_gradients": integrated_gradients, "gradient_input": gradient_input, "occlusion": occlusion}
