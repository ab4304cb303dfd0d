"""The maximum length of a training in epochs, optimizer steps and batches."""

from __future__ import annotations

from dataclasses import dataclass

from src.config.trainer_switches import Trainer


@dataclass(frozen=True)
class Length:
    """The maximum length of a training.

    Args:
        batches: per epoch.
        epoch_steps: optimizer steps per epoch.
        epochs: including the last one, which `steps` may cut short.
        steps: optimizer steps in total.
    """

    batches: int
    epoch_steps: int
    epochs: int
    steps: int


def limited(batches: int, limit: int | float) -> int:
    """Returns how many batches of a split are used under a Lightning limit: a number of batches or a fraction."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def length(trainer: Trainer, batches: int) -> Length:
    """Returns the maximum length of a training.

    Args:
        trainer: the section of the config.
        batches: in the training split, before any limit.
    """
    batches = limited(batches, trainer.overfit_batches or trainer.limit_train_batches)
    epoch_steps = -(-batches // trainer.accumulate_grad_batches)
    steps = trainer.max_epochs * epoch_steps
    if 0 < trainer.max_steps < steps:
        steps = trainer.max_steps
    return Length(batches, epoch_steps, -(-steps // max(1, epoch_steps)), steps)
