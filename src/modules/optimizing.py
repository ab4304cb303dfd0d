"""How a LightningModule steps: its optimizer, the schedule of its rates, and the clipping of gradients."""

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
    """How to build the optimizer and its schedule once the length of the training is known.

    Args:
        optimizer: builds it.
        scheduler: builds the schedule, from the optimizer and how often the schedule moves.
        length: of the training, from the number of batches that the training split has.
        interval: when the schedule moves: `step` or `epoch`.
        monitor: the metric whose plateaus a schedule goes by, if it does.
        lr: the peak rate of the backbone.
        head_lr: the peak rate of the head.
        thaw_warmup: the share of an epoch in which the rate of a newly thawed stage rises from zero.
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
    """A module that steps at its schedule's rates, each stage at a share of its own of them."""

    optimization: Optimization | None

    @abstractmethod
    def rate_factor(self, stage: str) -> float:
        """What the schedule's rate of a stage is multiplied with in the next step."""

    def configure_optimizers(self) -> Any:
        chosen: Any = self.optimization
        optimizer = chosen.optimizer(self)
        # Lightning's own estimate opens the training data before it restores a checkpoint, and then never gives the
        # loader its state back: a run resumed within an epoch would start that epoch anew.
        trainer: Any = self.trainer
        length = chosen.length(len(trainer.datamodule.train_dataloader()))
        scheduler = chosen.scheduler(optimizer, length.epochs if chosen.interval == "epoch" else length.steps)
        # Lightning would move a plateau by the same value again in epochs without a validation, and after the epoch's
        # checkpoint has been written; `watch_plateau` moves it.
        options = {"interval": chosen.interval, "reduce_on_plateau": False}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **options}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, Schedule):
                config.scheduler.resume()

    def watch_plateau(self, scores: Mapping[str, float]) -> None:
        """Shows a schedule that goes by plateaus what has been measured in an epoch."""
        assert self.optimization is not None
        value = scores.get(self.optimization.monitor or "")
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None:
                config.scheduler.step(value)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Takes the step at the schedule's rates times what the phase and the warm-up of thawed stages make of them."""
        scheduled = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] *= self.rate_factor(group["name"].partition("/")[0])
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        for group, rate in zip(optimizer.param_groups, scheduled, strict=True):
            group["lr"] = rate  # schedules count from what they have set themselves

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            # Lightning refuses to clip for fused optimizers under any mixed precision; only float16 scales gradients.
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
