"""Which phases of a strategy a training reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.freezing.strategy import Phase
from src.runs.results import PhaseResult


def trained_phases(phases: Sequence[Phase], done: Sequence[Mapping[str, Any]]) -> list[Phase]:
    """Returns the phases in which a training took optimizer steps.

    Args:
        phases: of the strategy.
        done: the record of each phase that began, from the training or its result.
    """
    records = map(PhaseResult.model_validate, done)
    return [phase for phase, record in zip(phases, records, strict=False) if record.first_step < record.last_step]


def reached(phases: Sequence[Phase], epochs: int, every: int) -> int:
    """Returns in how many phases a training takes steps, if each plateau comes as early as possible.

    Args:
        phases: of the strategy.
        epochs: of the training.
        every: epochs between validations (`trainer.check_val_every_n_epoch`).
    """
    begun = begin = 0
    for phase in phases:
        if begin >= epochs:
            break
        begun += 1
        # A plateau needs a first validation and then `patience` validations without improvement.
        begin += 1 + phase.end.patience * every if phase.end.epochs is None else phase.end.epochs
    return begun


def unreached_warning(begun: int, phases: int, limit: str) -> str:
    """Returns a warning about the phases that a training does not reach; empty if it reaches all.

    Args:
        begun: how many phases it reaches.
        phases: how many phases there are.
        limit: the trainer key that limits the training, such as `max_epochs`.
    """
    if begun == phases:
        return ""
    left, them = (f"phase {phases}", "it") if begun + 1 == phases else (f"phases {begun + 1} to {phases}", "them")
    return f"The epochs do not reach {left}. Raise trainer.{limit} to reach {them}."
