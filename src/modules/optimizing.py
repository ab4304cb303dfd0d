"""Optimizer steps of a LightningModule: optimizer, learning-rate schedule, gradient clipping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch.optim.lr_scheduler import ReduceLROnPlateau

from src.config.length import Length
from src.modules.optimizers import Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from src.modules.freezable import FreezableModule


@dataclass(frozen=True)
class Optimization:
    """How to build the optimizer and its schedule, once the length of the training is known.

    Args:
        optimizer: builds it.
        scheduler: builds the schedule from the optimizer and the number of scheduler steps.
        length: of the training, as a function of the number of training batches.
        interval: when the scheduler steps: `step` or `epoch`.
        monitor: the metric that ReduceLROnPlateau watches; None for other schedules.
        lr: peak learning rate of the backbone.
        head_lr: peak learning rate of the head.
        thaw_warmup: learning-rate warm-up of newly unfrozen stages, as a fraction of an epoch.
    """

    optimizer: Callable[[FreezableModule], Optimizer]
    scheduler: Callable[[Optimizer, int], Any]
    length: Callable[[int], Length]
    interval: str
    monitor: str | None
    lr: float
    head_lr: float
    thaw_warmup: float


class ScheduledModule(LightningModule, ABC):
    """A module whose stages train with the learning rate of the schedule times a factor of their own."""

    optimization: Optimization | None

    @abstractmethod
    def lr_factor(self, stage: str) -> float:
        """Returns the factor of a stage's scheduled learning rate in the next step."""

    def configure_optimizers(self) -> Any:
        chosen: Any = self.optimization
        optimizer = chosen.optimizer(self)
        # Lightning's own estimate sets up the training data before it restores a checkpoint, and then does not restore
        # the loader's state: a run resumed within an epoch would restart that epoch.
        trainer: Any = self.trainer
        length = chosen.length(len(trainer.datamodule.train_dataloader()))
        scheduler = chosen.scheduler(optimizer, length.epochs if chosen.interval == "epoch" else length.steps)
        # Lightning would step ReduceLROnPlateau with the old value in epochs without validation, and after the epoch's
        # checkpoint has been written; `step_plateau_schedule` does it instead.
        options = {"interval": chosen.interval, "reduce_on_plateau": False}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **options}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, Schedule):
                config.scheduler.resume()

    def step_plateau_schedule(self, scores: Mapping[str, float]) -> None:
        """Steps ReduceLROnPlateau with the scores of an epoch."""
        assert self.optimization is not None
        value = scores.get(self.optimization.monitor or "")
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None:
                config.scheduler.step(value)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Takes a step with the scheduled learning rates times `lr_factor` of each stage."""
        scheduled = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] *= self.lr_factor(group["name"].partition("/")[0])
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        for group, lr in zip(optimizer.param_groups, scheduled, strict=True):
            group["lr"] = lr  # schedules continue from their own values

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            # Lightning refuses to clip with fused optimizers in any mixed precision, but only float16 scales gradients.
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
