"""When a training is saved: after each epoch, every so many minutes, and when it is asked to stop."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from src.caching.costs import moments
from src.config.monitor import resolved, sign
from src.errors import UserError, reason
from src.modules.freezable import FreezableModule
from src.runs.checkpoints import hard_link, keep_weights, read_verified, write
from src.runs.folder import JOB

log = logging.getLogger(__name__)

VALIDATION = "epoch_loop.val_loop.batch_progress"  # Lightning's name for how far a validation is


DUE = 1  # below the signals that ask to stop


class CheckpointFiles(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints here.

    Its own way loses errors of a full disk, and tears the old file where $TMPDIR is on another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        write(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_verified(Path(path))


class Saving(Checkpoint):
    """Keeps a training's last state and its best in a folder, as last.ckpt and best.ckpt.

    A training that is asked to stop (SIGINT, SIGTERM) continues to the next moment that can be resumed exactly,
    mostly the end of a step, saves, and exits with 130 or 143. Asked a second time it ends at once. A job of SLURM
    whose time is nearly up (SIGUSR1) also puts itself back into the queue.

    Args:
        folder: for the checkpoints.
        monitor: the metric that says which epoch is the best.
        mode: `auto`, or the one that the metric has in any case.
        every_minutes: of training, between two checkpoints within an epoch.
        weights_only: once the training has its results, keep only the best weights; None: of jobs of a multirun.
    """

    def __init__(
        self,
        folder: str,
        monitor: str,
        mode: str = "auto",
        every_minutes: float = 15.0,
        weights_only: bool | None = None,
    ) -> None:
        if not every_minutes >= 0:
            raise ValueError(f"every_minutes must be a number of minutes, at least 0; got {every_minutes}.")
        self.last, self.best = Path(folder) / "last.ckpt", Path(folder) / "best.ckpt"
        resolved(mode, monitor)
        self.monitor, self.sign, self.every = monitor, sign(monitor), 60 * every_minutes
        self.weights_only = JOB in os.environ if weights_only is None else weights_only
        self.best_value, self.best_step = math.nan, -1
        self.validated = False  # in this epoch
        self.saved_at = 0.0
        self.asked: int | None = None  # the signal that asked to stop
        self.stepping = False  # steps and validations can be waited for; all else ends at once

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at = time.monotonic()
        self._check_writable(trainer, pl_module)
        self._listen()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stepping = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if ends_here(trainer):
            if self.best_step < 0 and self.monitor.startswith("validation/"):
                trainer.check_val_every_n_epoch = 1  # there must be a best epoch
            return
        # Gradients that are still being added up are in no checkpoint, and after the last batch comes the validation.
        if (batch_idx + 1) % trainer.accumulate_grad_batches or batch_idx + 1 == trainer.num_training_batches:
            return
        if number := self._requested(trainer, due=time.monotonic() - self.saved_at >= self.every):
            self._save(trainer)
            _stop(trainer, number)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and (number := self._requested(trainer)):
            # A training that ends within an epoch could not be resumed from here.
            if not ends_here(trainer):
                self._save(trainer)
            _stop(trainer, number)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = trainer.state.fn == "fit" and not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        known = self.validated or self.monitor.startswith("train/")
        better = known and (self.best_step < 0 or self._improves(value))
        if better:
            self.best_value, self.best_step = value, trainer.global_step
        self.validated = False
        self._save(trainer)
        if better and trainer.is_global_zero:
            hard_link(self.last, self.best)
        _stop(trainer, self._requested(trainer))
        self.stepping = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stepping = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # The run may have ended between the two names of this state; after its last epoch no other hook is called.
        best_step = checkpoint["callbacks"][self.state_key]["best_step"]
        if (
            trainer.is_global_zero
            and best_step == checkpoint["global_step"]
            and str(trainer.ckpt_path) == str(self.last)
        ):
            hard_link(self.last, self.best)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.validating and trainer.state.fn == "fit":
            # Half of a validation is worth nothing: as if its first batch had just been handed out.
            first = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            checkpoint["loops"]["fit_loop"][VALIDATION] |= {"total": first, "current": dict(first)}

    def keep_best(self) -> None:
        """Takes the state of the training out of best.ckpt, where only weights are to be kept."""
        if self.weights_only:
            keep_weights(self.best)

    def forget_last(self) -> None:
        """Deletes last.ckpt, where only weights are to be kept: when nothing is left that could be interrupted."""
        if self.weights_only:
            self.last.unlink(missing_ok=True)
            self.last.with_name(f"{self.last.name}.sha256").unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_step = state_dict["best_value"], state_dict["best_step"]

    def _improves(self, value: float) -> bool:
        return not math.isnan(value) and (math.isnan(self.best_value) or self.sign * (value - self.best_value) > 0)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.last)
        self.saved_at = time.monotonic()

    def _requested(self, trainer: Trainer, due: bool = False) -> int:
        """Returns what is requested of all processes, which must save at the same step: nothing (0), a save (DUE), or
        to end on the signal that one of them got."""
        mine = self.asked or (DUE if due else 0)
        if trainer.world_size == 1:
            return mine
        device = trainer.strategy.root_device
        return int(trainer.strategy.reduce(torch.tensor(mine, device=device), reduce_op="max"))

    def _listen(self) -> None:
        # Lightning's handlers, set before this, exit with 0 or without a checkpoint; it puts the earlier ones back.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if SLURMEnvironment.detect() else [])):
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            os._exit(128 + number)
        self.asked = number
        if not self.stepping:
            raise SystemExit(128 + number)
        log.warning("%s: saving, then the run ends. Once more ends it at once.", signal.Signals(number).name)

    def _check_writable(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the state as it is, reads it back and takes it away again, before any work could be lost.

        Raises:
            UserError: it cannot be done, or there is too little space for what will be written.
        """
        assert isinstance(module, FreezableModule)
        trial = self.last.with_name("trial.ckpt")
        trainer.save_checkpoint(trial)
        if not trainer.is_global_zero:
            return
        # Before its first step the optimizer holds nothing, and later phases train other parameters.
        size = max(trial.stat().st_size, with_moments(module))
        # Two names of two states, and the next while it is written. A resumed run has states that these replace.
        states = [file.stat() for file in (self.last, self.best) if file.exists()]
        needed = 3 * size - sum({state.st_ino: state.st_size for state in states}.values())
        trial.unlink()
        trial.with_name("trial.ckpt.sha256").unlink()
        free = shutil.disk_usage(self.last.parent).free
        if free < needed:
            raise UserError(
                f"The disk of {self.last.parent} must have room for the checkpoints, {needed / 1e6:,.0f} MB; "
                f"{free / 1e6:,.0f} MB are free.\nFree some space, or choose another folder: run=FOLDER."
            )


def with_moments(module: FreezableModule) -> int:
    """Returns the bytes of all parameters that ever train, with what the optimizer keeps of them."""
    named = module.named_stage_parameters()
    return (1 + moments(module)) * sum(named[name].numel() * named[name].element_size() for name in module.trained)


def ends_here(trainer: Trainer) -> bool:
    """Whether a training has been told to end and will, maybe within an epoch, after a validation."""
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def check_places(trainer: Trainer, run: Path) -> None:
    """
    Args:
        trainer: of the run.
        run: its folder; what lies in it is not looked at.

    Raises:
        UserError: the logs or checkpoints belong into a folder that cannot be made or written.
    """
    places = [logger.save_dir for logger in trainer.loggers]
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    places += [str(callback.last.parent) for callback in callbacks if isinstance(callback, Saving)]
    for place in (Path(found) for found in places if found and "://" not in found):
        if place.absolute().is_relative_to(run.absolute()):
            continue
        try:
            place.mkdir(parents=True, exist_ok=True)
            reason = None if os.access(place, os.W_OK) else "Permission denied"
        except OSError as error:
            reason = error.strerror
        if reason:
            raise UserError(
                f"{place} must be a folder that can be made and written; it cannot: {reason}.\n"
                "Choose another: logger.NAME.save_dir=… or callbacks.checkpoint.folder=…, or leave these out."
            )


def _stop(trainer: Trainer, wish: int) -> None:
    if wish <= DUE:
        return
    if wish == signal.SIGUSR1 and trainer.is_global_zero:
        _requeue()  # SLURM sends it when the time is nearly up (#SBATCH --signal=SIGUSR1@90)
    raise SystemExit(128 + wish)


def _requeue() -> None:
    """Puts this job of SLURM back into its queue, or says that it cannot: the run is saved, and ends all the same."""
    try:
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("The job is not back in the queue of SLURM: %s.\nSubmit it again.", reason(error))
