"""Which of its phases a training comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.freezing.strategy import Phase
from src.runs.results import PhaseResult


def taken(phases: Sequence[Phase], done: Sequence[Mapping[str, Any]]) -> list[Phase]:
    """Those of a strategy's phases in which a training took steps.

    Args:
        phases: of the strategy.
        done: what the training, or its result, says of each phase that it began.
    """
    records = map(PhaseResult.model_validate, done)
    return [phase for phase, record in zip(phases, records, strict=False) if record.first_step < record.last_step]


def reached(phases: Sequence[Phase], epochs: int, every: int) -> int:
    """In how many of the phases a training takes steps, if each plateau comes as soon as it can.

    Args:
        phases: of the strategy.
        epochs: of the training.
        every: how many epochs it is from one validation to the next.
    """
    begun = begin = 0
    for phase in phases:
        if begin >= epochs:
            break
        begun += 1
        # A plateau takes a first validation, and then as many without improvement as it has patience.
        begin += 1 + phase.end.patience * every if phase.end.epochs is None else phase.end.epochs
    return begun


def unreached(begun: int, phases: int, limit: str) -> str:
    """What there is to say of a training that does not come to all of its phases; nothing if it does.

    Args:
        begun: how many it comes to.
        phases: how many there are.
        limit: the key of the trainer that ends the training.
    """
    if begun == phases:
        return ""
    left, them = (f"phase {phases}", "it") if begun + 1 == phases else (f"phases {begun + 1} to {phases}", "them")
    return f"The epochs do not reach {left}. Raise trainer.{limit} to reach {them}."
