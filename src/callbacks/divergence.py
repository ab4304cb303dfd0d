"""Ends a training whose loss or weights are no longer finite numbers, before such weights are kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.accelerators import CPUAccelerator

from src.datamodules.ragged import Batch
from src.errors import UserError
from src.modules.freezable import FreezableModule

MOST = 64  # losses that wait for a look


NEVER = 2**31 - 1  # a step after all others


class DivergenceError(UserError):
    """A loss or a weight is NaN or infinite. Says at which step, and what to lower."""


class Divergence(Callback):
    """Looks at the loss of each step: at once on a CPU, and at several together, as often as they are logged,
    where a look would wait for a GPU or for other processes. Looks at the loss of each validation, and at all weights
    that train before a checkpoint is written.

    A step that a float16 scaler leaves out, since its gradients overflow, is no divergence: its loss is finite.
    """

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []  # that are still to be looked at
        self.steps: list[int] = []  # theirs, counted from 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.steps.append(trainer.global_step + 1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.losses.append(outputs["loss"].detach())
        lightning: Any = trainer
        every = lightning.log_every_n_steps if _waits(trainer) else 1
        if len(self.losses) >= min(every or MOST, MOST):
            self._look(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(trainer.callback_metrics.get("validation/loss", 0.0))
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not math.isfinite(loss):
            raise diverged(pl_module, trainer.global_step, f"the validation loss is {loss}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(pl_module, FreezableModule)
        named = pl_module.named_stage_parameters()
        names = sorted(pl_module.trained)
        finite = torch.stack([named[name].detach().isfinite().all() for name in names]).tolist()
        if broken := [name for name, is_finite in zip(names, finite, strict=True) if not is_finite]:
            raise diverged(pl_module, trainer.global_step, f"weights of {broken[0]} are no finite numbers")

    def _look(self, trainer: Trainer, module: LightningModule) -> None:
        losses, steps, self.losses, self.steps = self.losses, self.steps, [], []
        if not losses:
            return
        found = torch.stack(losses).isfinite().tolist()
        step = next((step for step, finite in zip(steps, found, strict=True) if not finite), NEVER)
        if trainer.world_size > 1:  # each process has a loss of its own, and all must end together
            mine = torch.tensor(step, device=trainer.strategy.root_device)
            step = int(trainer.strategy.reduce(mine, reduce_op="min"))
        if step != NEVER:
            raise diverged(module, step, "the loss is no finite number")


def _waits(trainer: Trainer) -> bool:
    """Whether a look at a loss takes time."""
    return trainer.world_size > 1 or not isinstance(trainer.accelerator, CPUAccelerator)


def diverged(module: LightningModule, step: int, what: str) -> DivergenceError:
    """
    Args:
        module: that trains.
        step: of the optimizer, counted from 1.
        what: is wrong.
    """
    assert isinstance(module, FreezableModule)
    assert module.optimization is not None
    rates = module.optimization
    return DivergenceError(
        f"Training diverged at step {step}: {what}.\n"
        f"Start a new run with a lower optimizer.lr ({rates.lr:g}) or optimizer.head_lr ({rates.head_lr:g}), or with "
        "shorter gradients: trainer.gradient_clip_val. Checkpoints from before are as they were."
    )
