"""Whether a run was trained to the end, from its result.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.config.wording import counted

ENOUGH_STEPS = 200  # with fewer optimizer steps a new head has not learned what its inputs tell


@dataclass(frozen=True)
class Convergence:
    """How far the training of a run has come.

    Args:
        epochs: that were trained.
        steps: optimizer steps.
        improving: the last epoch was the best one, and its training loss was still falling.
    """

    epochs: int
    steps: int
    improving: bool

    @property
    def undertrained(self) -> bool:
        """Whether its score says how fast it learns rather than what it can learn."""
        return self.improving and self.steps < ENOUGH_STEPS

    @property
    def warning(self) -> str:
        """What to tell of a run that is undertrained."""
        return (
            f"Not trained to the end: after {counted(self.steps, 'step')} (fewer than {ENOUGH_STEPS}), epoch "
            f"{self.epochs} was the last and the best, and its training loss was still falling. Try {self.advice}."
        )

    @property
    def advice(self) -> str:
        """What to try where it was not trained to the end."""
        epochs = max(2 * self.epochs, math.ceil(2 * ENOUGH_STEPS * self.epochs / max(1, self.steps)))
        return f"trainer.max_epochs={epochs} or a higher learning rate"


def convergence(result: Mapping[str, Any]) -> Convergence | None:
    """Returns how far the training of a run came; None if its result has no history of losses.

    Args:
        result: the content of a result.json, of any version.
    """
    history = result.get("history") or [{}]
    last = history[-1]
    if "train/loss" not in last or "step" not in last or "epoch" not in result.get("best", {}):
        return None
    before = history[-2].get("train/loss") if len(history) > 1 else None
    falling = before is None or last["train/loss"] < before
    stopped = result.get("ended", {}).get("by") == "early_stopping"
    improving = result["best"]["epoch"] == last["epoch"] and falling and not stopped
    return Convergence(int(last["epoch"]), int(last["step"]), bool(improving))
