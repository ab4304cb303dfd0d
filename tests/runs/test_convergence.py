"""Which runs were not trained to the end."""

from __future__ import annotations

from typing import Any

import pytest

from src.runs.convergence import convergence


def result(losses: list[float], best: int, steps: int, by: str = "max_epochs") -> dict[str, Any]:
    """Of a run with these training losses, in equally many steps per epoch."""
    per_epoch = steps // len(losses)
    history = [{"epoch": n, "step": n * per_epoch, "train/loss": loss} for n, loss in enumerate(losses, start=1)]
    return {"history": history, "best": {"epoch": best}, "ended": {"by": by}}


@pytest.mark.parametrize(
    ("found", "improving", "undertrained"),
    [
        (result([1.0, 0.8], 2, 38), True, True),
        (result([1.0], 1, 19), True, True),  # nothing to compare with: one epoch is never known to be enough
        (result([1.0, 0.8], 2, 400), True, False),
        (result([1.0, 0.8, 0.7], 2, 57), False, False),  # a later epoch was worse
        (result([1.0, 0.8, 0.8], 3, 57), False, False),  # the training loss no longer falls
        (result([1.0, 0.8, 0.7999], 3, 57), True, True),  # little, since the learning rate has come to its end
        (result([1.0, 0.8], 2, 38, "early_stopping"), False, False),
    ],
)
def test_a_run_is_undertrained_if_all_signs_say_so(found: dict[str, Any], improving: bool, undertrained: bool) -> None:
    state = convergence(found)
    assert state is not None
    assert (state.improving, state.undertrained) == (improving, undertrained)


def test_the_advice_has_enough_steps() -> None:
    state = convergence(result([1.0, 0.8], 2, 38))
    assert state is not None
    assert state.advice.startswith("trainer.max_epochs=22 ")  # 418 steps
    assert "after 38 steps (fewer than 200), epoch 2 was the last and the best" in state.warning


def test_a_result_without_a_history_of_losses_says_nothing() -> None:
    assert convergence({"history": [{}, {}]}) is None
    assert convergence({}) is None
