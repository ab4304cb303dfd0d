"""Which phases of a strategy a training reaches, and how they fit into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from src.freezing.strategy import End, Phase
from src.runs.results import PhaseResult


def fitted(phases: Sequence[Phase], epochs: int) -> list[Phase]:
    """Returns phases whose lengths are parts of a training with lengths in epochs, so that the last one is reached.

    Of more such phases than epochs some are left out, as evenly as possible; the first one too with a single epoch.

    Args:
        phases: of the strategy.
        epochs: of the training.
    """
    if all(phase.end.parts is None for phase in phases):
        return list(phases)
    last, count = len(phases) - 1, min(epochs, len(phases))
    kept = [phases[last - last * later // max(1, count - 1)] for later in reversed(range(count))]
    lengths = [phase.end.parts and max(1, epochs // phase.end.parts) for phase in kept]
    return [replace(phase, end=End(length)) if length else phase for phase, length in zip(kept, lengths, strict=True)]


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
        if phase.end.epochs is None:
            # A plateau needs a first validation and then `patience` validations without improvement.
            begin = (begin // every + 1 + phase.end.patience) * every
        else:
            begin += phase.end.epochs
    return begun


def unreached_warning(begun: int, phases: int, limit: str) -> str:
    """Returns a warning about the phases that a training does not reach; empty if it reaches all.

    Args:
        begun: how many phases it reaches.
        phases: how many phases there are.
        limit: the trainer key that limits the training, such as `max_epochs`, or `callback`, which no key moves.
    """
    if begun == phases:
        return ""
    left, them = (f"phase {phases}", "it") if begun + 1 == phases else (f"phases {begun + 1} to {phases}", "them")
    if limit == "callback":
        return f"A callback ended the training before {left}."
    return f"The epochs do not reach {left}. Raise trainer.{limit} to reach {them}."
