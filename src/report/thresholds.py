"""From which probability on a run predicts a label."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from src.arrays import NDArray
from src.config.schema import RunConfig
from src.data.labels import LabelSpace
from src.errors import listed
from src.models.heads import probabilities
from src.modules.classifier import Predictions
from src.statistics.thresholds import Criterion, best_threshold, is_told

log = logging.getLogger(__name__)

WORTH = {"f1": "F1", "youden": "sensitivity + specificity - 1", "cost": "mean cost"}


@dataclass(frozen=True)
class Decision:
    """The labels that a run decides on, and from which probability on it predicts them.

    Args:
        names: of all labels of a multi-label task, or of the positive one of a binary task.
        thresholds: as in `heads.decide`.
        note: which they are, in one line; None where nobody has asked.
    """

    names: tuple[str, ...]
    thresholds: Float[Tensor, " decided"]
    note: str | None = None

    @property
    def described(self) -> dict[str, float]:
        """The entry for result.json."""
        return dict(zip(self.names, self.thresholds.tolist(), strict=True))


def decision(found: Predictions, space: LabelSpace, settings: RunConfig) -> Decision | None:
    """Returns the thresholds of a run; None where it predicts the most probable label. Warns of labels whose best
    threshold the texts do not tell.

    Args:
        found: the predictions of the validation texts.
        space: the labels.
        settings: of the run.
    """
    wanted = settings.threshold
    if wanted is None and space.objective != "multilabel":
        return None
    names = space.names[-space.outputs :]
    if isinstance(wanted, float):
        note = f"Threshold: {listed(names)} predicted from a probability of {wanted:g} on."
        return Decision(names, torch.full((len(names),), wanted), note)
    criterion = Criterion(wanted or "f1", settings.costs)
    probs, truth = _by_label(found, space)
    chosen = [best_threshold(*label, criterion) for label in zip(probs, truth, strict=True)]
    if wanted is None:
        return Decision(names, torch.tensor(chosen))
    untold = [name for name, *label in zip(names, probs, truth, strict=True) if not is_told(*label)]
    if untold:
        log.warning(
            "threshold=%s takes %.3g for %s: validation needs texts with the label and without it, of different "
            "probabilities.",
            *(wanted, criterion.fallback, listed(untold)),
        )
    return Decision(names, torch.tensor(chosen), _note(names, probs, truth, chosen, criterion))


def _by_label(
    found: Predictions, space: LabelSpace
) -> tuple[Float[NDArray[np.float32], "decided texts"], Bool[NDArray[np.bool_], "decided texts"]]:
    """Returns the probabilities of the labels to decide on, and which texts have them."""
    probs = probabilities(found.logits, space.objective).numpy().T[-space.outputs :]
    return probs, found.targets.long().numpy().T.reshape(probs.shape) == 1


def _note(
    names: tuple[str, ...],
    probs: Float[NDArray[np.float32], "decided texts"],
    truth: Bool[NDArray[np.bool_], "decided texts"],
    chosen: list[float],
    criterion: Criterion,
) -> str:
    if len(names) > 1:
        return (
            f"Thresholds ({criterion.rule} on validation): {len(names):,} labels predicted from a probability of "
            f"{min(chosen):.3g} to {max(chosen):.3g} on."
        )
    said = f"Threshold ({criterion.rule} on validation): {names[0]} predicted from a probability of {chosen[0]:.3g} on"
    if not is_told(probs[0], truth[0]):
        return f"{said}."
    best, half = (abs(criterion.of(probs[0], truth[0], limit)) for limit in (chosen[0], 0.5))
    return f"{said}; {WORTH[criterion.rule]} {best:.3f} there, {half:.3f} at 0.5."
