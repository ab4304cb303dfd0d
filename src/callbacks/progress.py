"""How far a training is: status.json and the progress bar."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from src.runs.folder import RunFolder


class Status(Callback):
    """Keeps status.json up to date during a run."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.write_status("running", epoch=trainer.current_epoch + 1, step=trainer.global_step)


class Progress(RichProgressBar):
    """Lightning's bar, counting epochs from 1 and without the version number of the logger."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, i: int
    ) -> None:
        # The parent draws the whole bar anew after each batch, which takes longer than a step on stored vectors.
        if (i + 1) % self.refresh_rate == 0 or i + 1 == trainer.num_training_batches:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, i)

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}
