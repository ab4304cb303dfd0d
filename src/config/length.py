"""How long a training lasts at the most, in epochs, steps of the optimizer and batches."""

from __future__ import annotations

from dataclasses import dataclass

from src.config.trainer_switches import Trainer


@dataclass(frozen=True)
class Length:
    """
    Args:
        batches: of an epoch.
        epoch_steps: of the optimizer, in a whole epoch.
        epochs: that are begun; the last may be cut short by `steps`.
        steps: of the optimizer, in all.
    """

    batches: int
    epoch_steps: int
    epochs: int
    steps: int


def limited(batches: int, limit: int | float) -> int:
    """How many of a split's batches are taken, by a number of them or a share, as Lightning counts."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def length(trainer: Trainer, batches: int) -> Length:
    """
    Args:
        trainer: the section of the config.
        batches: that there are in the training split.
    """
    batches = limited(batches, trainer.overfit_batches or trainer.limit_train_batches)
    epoch_steps = -(-batches // trainer.accumulate_grad_batches)
    steps = trainer.max_epochs * epoch_steps
    if 0 < trainer.max_steps < steps:
        steps = trainer.max_steps
    return Length(batches, epoch_steps, -(-steps // max(1, epoch_steps)), steps)
