"""The losses of classifiers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from src.data.labels import LabelSpace
from src.modules.losses import Loss

THREE = LabelSpace("multiclass", ("a", "b", "c"))
TWO = LabelSpace("binary", ("no", "yes"))
TAGS = LabelSpace("multilabel", ("a", "b", "c"))


def given(space: LabelSpace) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, space.outputs, generator=generator)
    if space.objective == "multilabel":
        return logits, (torch.rand(8, 3, generator=generator) > 0.5).float()
    return logits, torch.arange(8) % len(space.names)


@pytest.mark.parametrize("space", [THREE, TWO, TAGS])
def test_the_focal_loss_weights_each_term_by_what_is_missing(space: LabelSpace) -> None:
    logits, targets = given(space)
    if space is THREE:
        probs = logits.softmax(1)[torch.arange(8), targets]
        expected = -((1 - probs) ** 2) * probs.log()
    else:
        wanted = targets.float() if space is TAGS else targets.float()[:, None]
        probs = torch.where(wanted == 1, logits.sigmoid(), 1 - logits.sigmoid())
        expected = (-((1 - probs) ** 2) * probs.log()).mean(1)
    torch.testing.assert_close(Loss(space, gamma=2.0)(logits, targets), expected)


def test_smoothing_spreads_the_target_over_the_labels() -> None:
    logits, targets = given(THREE)
    soft = F.one_hot(targets, 3) * 0.9 + 0.1 / 3
    torch.testing.assert_close(Loss(THREE, smoothing=0.1)(logits, targets), -(soft * logits.log_softmax(1)).sum(1))


def test_smoothing_two_labels_is_the_same_with_one_logit_as_with_two() -> None:
    logits, targets = given(TWO)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    expected = F.cross_entropy(both, targets, label_smoothing=0.2, reduction="none")
    torch.testing.assert_close(Loss(TWO, smoothing=0.2)(logits, targets), expected)


def test_label_weights_scale_the_positive_terms() -> None:
    logits, targets = given(TAGS)
    weights = torch.tensor([1.0, 5.0, 1.0])
    difference = Loss(TAGS)(logits, targets, weights) - Loss(TAGS)(logits, targets)
    torch.testing.assert_close(difference, -targets[:, 1] * F.logsigmoid(logits[:, 1]) * 4 / 3)
