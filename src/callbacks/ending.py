"""When a training ends, and why."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, Timer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason as Reason

from src.config.schema import RunConfig
from src.datamodules.ragged import Batch
from src.errors import UserError
from src.modules.freezable import FreezableModule


class Ending(Callback):
    """Ends a training after `trainer.max_steps`, with the validation and the checkpoint of an epoch's end.

    Lightning's own max_steps skips that validation, and a run that it has ended would resume within the epoch.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: RunConfig) -> None:
        self.settings = settings.trainer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        if 0 < self.settings.max_steps <= trainer.global_step:
            trainer.should_stop = True

    def describe(self, trainer: Trainer, module: FreezableModule) -> dict[str, Any]:
        """What a result says of the end of a training that is over: `by` which key, or a callback other than those of
        conf/; after which epoch and step; and, of one that has stopped early, the `reason`."""
        last = module.history[-1]
        found: dict[str, Any] = {"by": "max_epochs", "epoch": int(last["epoch"]), "step": int(last["step"])}
        stopping = find(trainer, EarlyStopping)
        if 0 < self.settings.max_steps <= found["step"]:
            return {**found, "by": "max_steps"}
        if found["epoch"] >= self.settings.max_epochs:
            return found
        if stopping and stopping.stopping_reason != Reason.NOT_STOPPED:
            return {**found, "by": "early_stopping", "reason": reason(stopping)}
        timer = find(trainer, Timer)
        left = timer.time_remaining() if timer else None
        return {**found, "by": "callback" if left is None or left > 0 else "max_time"}


def sentence(ended: Mapping[str, Any], best_epoch: int, most: int) -> str:
    """How a training has ended that did not have all of its epochs; empty for one that had.

    Args:
        ended: as `Ending` describes it.
        best_epoch: counted from 1.
        most: epochs that it could have had.
    """
    if ended["by"] == "max_epochs":
        return ""
    when = f"after step {ended['step']:,}, in epoch {ended['epoch']} of {most}"
    if ended["by"] != "early_stopping":
        by = "a callback" if ended["by"] == "callback" else f"trainer.{ended['by']}"
        return f"Ended by {by} {when}; the best is epoch {best_epoch}."
    return f"Stopped early, {when}: {ended['reason']}. The best is epoch {best_epoch}."


def find(trainer: Trainer, kind: type[Any]) -> Any:
    """The trainer's callback of a kind; None if it has none."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def reason(stopping: EarlyStopping) -> str:
    """Why a training has stopped early."""
    if stopping.stopping_reason == Reason.PATIENCE_EXHAUSTED:
        return (
            f"{stopping.monitor} has not improved for {stopping.wait_count} {_times(stopping)} "
            f"(callbacks.early_stopping.patience={stopping.patience})"
        )
    if stopping.stopping_reason == Reason.NON_FINITE_METRIC:
        return f"{stopping.monitor} is no finite number"
    kind = stopping.stopping_reason.name.lower()
    return f"{stopping.monitor} has reached callbacks.early_stopping.{kind}={getattr(stopping, kind)}"


def has_stopped(stopping: EarlyStopping, history: Sequence[Mapping[str, float]]) -> bool:
    """Whether a training has stopped early, by the options that it has now.

    Args:
        stopping: with the state of the training.
        history: its scores in each epoch.
    """
    if stopping.wait_count >= stopping.patience:
        return True
    why, goal, limit = stopping.stopping_reason, stopping.stopping_threshold, stopping.divergence_threshold
    scores = next((epoch for epoch in history if epoch["epoch"] == stopping.stopped_epoch + 1), {})
    value = torch.tensor(scores.get(stopping.monitor, math.nan))
    if why == Reason.STOPPING_THRESHOLD and goal is not None:
        return bool(stopping.monitor_op(value, goal))
    if why == Reason.DIVERGENCE_THRESHOLD and limit is not None:
        return bool(stopping.monitor_op(-value, -limit))
    return why == Reason.NON_FINITE_METRIC and stopping.check_finite


def _times(stopping: EarlyStopping) -> str:
    """What its patience counts."""
    return "validations" if stopping.monitor.startswith("validation/") else "epochs"


def check_left(checkpoint: Mapping[str, Any], settings: RunConfig, trainer: Trainer, finished: bool) -> None:
    """Whether a resumed run has something left to train; one that was interrupted may have only its results left.

    Args:
        checkpoint: to resume from.
        settings: of the resumed run.
        trainer: likewise, with its callbacks.
        finished: whether the run has its results.

    Raises:
        UserError: it has trained for longer than it is to, or has finished and nothing is left.
    """
    epochs = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    chosen, steps = settings.trainer, int(checkpoint["global_step"])
    for key, most, done in (("max_epochs", chosen.max_epochs, epochs), ("max_steps", chosen.max_steps, steps)):
        if 0 < most < done or (finished and most == done):
            least = "more than" if most == done else "at least"
            raise UserError(
                f"trainer.{key} must be {least} what the run has done, {done} {key.removeprefix('max_')}; got {most}.\n"
                "Give more to train it longer, or start a new run."
            )
    if not finished:
        return
    states = checkpoint["callbacks"]
    stopping, timer = find(trainer, EarlyStopping), find(trainer, Timer)
    if stopping and (state := states.get(stopping.state_key)):
        _check_stopping(stopping, state, checkpoint["history"])
    if timer and (state := states.get(timer.state_key)) and timer.time_remaining() is not None:
        timer.load_state_dict(state)
        if (timer.time_remaining() or 0) <= 0:
            raise UserError(
                f"trainer.max_time must be longer than the run has trained, {timer.time_elapsed():.0f} seconds; got "
                f"{chosen.max_time}.\nGive more to train it longer, or start a new run."
            )


def _check_stopping(stopping: EarlyStopping, state: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> None:
    """
    Raises:
        UserError: a training in this state has stopped early.
    """
    restored = copy.copy(stopping)
    restored.load_state_dict(dict(state))
    restored.patience = stopping.patience  # which the resumed run may have been given anew
    if not has_stopped(restored, history):
        return
    why, remedy = reason(restored), "other options of callbacks.early_stopping"
    if restored.wait_count >= restored.patience:
        why = f"{stopping.monitor} had not improved for {restored.wait_count} {_times(stopping)}"
        remedy = "callbacks.early_stopping.patience=N, above that number"
    raise UserError(
        f"The run has stopped early, after epoch {len(history)}, since {why}; more epochs alone change nothing.\n"
        f"Train it longer with {remedy}, or without early stopping: callbacks=no_early_stopping."
    )
