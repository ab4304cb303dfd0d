"""Divides a classifier's logits by the temperature that its validation texts say."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from src.arrays import NDArray
from src.data.labels import LabelSpace
from src.models.heads import probabilities
from src.modules.classifier import Predictions
from src.modules.metrics import calibration_error
from src.statistics.temperature import least_loss, negative_log_likelihood, why_none

log = logging.getLogger(__name__)

Scores = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """The predictions of a run at its temperature.

    Args:
        temperature: that their logits have been divided by.
        predictions: of each split.
        before: by split, the calibration error and the negative log-likelihood without it.
        after: with it.
    """

    temperature: float
    predictions: Mapping[str, Predictions]
    before: Mapping[str, Scores]
    after: Mapping[str, Scores]

    @property
    def described(self) -> dict[str, Any]:
        """The entry for result.json."""
        splits = {name: {"before": self.before[name], "after": self.after[name]} for name in self.before}
        return {"temperature": self.temperature, **splits}

    @property
    def note(self) -> str:
        """What it has changed on the test texts, in one line; empty where it has changed nothing."""
        if self.temperature == 1.0:
            return ""
        old, new = self.before["test"], self.after["test"]
        return (
            f"Calibration: logits divided by {self.temperature:.3g}. On test, the calibration error (ECE) was "
            f"{old['ece']:.4f} and is {new['ece']:.4f}; the loss was {old['nll']:.4f} and is {new['nll']:.4f}."
        )


def calibrate(found: Mapping[str, Predictions], space: LabelSpace) -> Calibrated:
    """Fits the temperature on the validation texts; warns and takes 1 where they do not say which is right.

    Args:
        found: the predictions of validation and test.
        space: the labels.
    """
    logits, right = _choices(found["validation"], space)
    temperature = 1.0
    if why := why_none(logits, right):
        log.warning("calibration=temperature leaves probabilities as they are: of the validation texts, %s.", why)
    else:
        temperature = least_loss(logits, right)
    splits = {name: found[name] for name in ("validation", "test")}
    divided = {name: dataclasses.replace(part, logits=part.logits / temperature) for name, part in splits.items()}
    before, after = ({name: _scores(part, space) for name, part in side.items()} for side in (splits, divided))
    return Calibrated(temperature, divided, before, after)


def _scores(found: Predictions, space: LabelSpace) -> Scores:
    probs = probabilities(found.logits, space.objective)
    return {
        "ece": calibration_error(probs, found.targets.long()),
        "nll": negative_log_likelihood(*_choices(found, space)),
    }


def _choices(
    found: Predictions, space: LabelSpace
) -> tuple[Float[NDArray[np.float64], "texts choices"], Int[NDArray[np.int64], " texts"]]:
    """Returns logits and the index of the right one; each label of a binary or multi-label task is a choice of two, no
    and yes, the first with the logit 0."""
    logits, right = found.logits.double().numpy(), found.targets.long().numpy()
    if space.objective == "multiclass":
        return logits, right
    return np.stack([np.zeros(logits.size), logits.ravel()], axis=1), right.ravel()
