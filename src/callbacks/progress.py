"""How far a training is: status.json, a line for each epoch, and the progress bar."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from src.modules.freezable import FreezableModule
from src.runs.folder import RunFolder

log = logging.getLogger(__name__)

MOST = 50  # lines that are shown together


SCORES = ("validation/accuracy", "validation/f1_macro", "validation/pearson", "validation/perplexity")


class Status(Callback):
    """Keeps status.json up to date during a run."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.write_status("running", epoch=trainer.current_epoch + 1, step=trainer.global_step)


class Epochs(Callback):
    """Logs a line for each epoch: when it is over, or where a progress bar shows epochs, all at the end."""

    def __init__(self) -> None:
        self.logged = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FreezableModule)
        self.logged = len(pl_module.history)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.progress_bar_callback is None:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, FreezableModule)
        new = module.history[self.logged :][-MOST:]
        self.logged = len(module.history)
        if new and trainer.is_global_zero:
            log.info("\n".join(_line(entry, trainer.max_epochs) for entry in new))


def _line(entry: Mapping[str, float], epochs: int | None) -> str:
    """Returns what an epoch has reached, from its entry in `history`."""
    names = [name for name in ("train/loss", "validation/loss", *SCORES) if name in entry]
    scores = ", ".join(f"{name.replace('/', ' ')} {entry[name]:.4g}" for name in names)
    return f"Epoch {entry['epoch']:.0f} of {epochs}: {scores}"


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
