"""Fits a module, then validates and tests its best weights; whatever ends it before is recorded in the run's folder."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from pytorch_lightning import Trainer

from src.callbacks.divergence import diverged
from src.config.schema import RunConfig
from src.errors import UserError, is_out_of_memory
from src.files.atomic import FULL
from src.files.ranks import is_main_process
from src.models.networks import check_state
from src.runs.checkpoints import read_verified
from src.runs.folder import JOB, RunFolder
from src.training.clock import Clock
from src.training.loggers import log_config
from src.training.memory import begin_peak, out_of_memory
from src.training.parts import Parts

log = logging.getLogger(__name__)


def fit_and_test(parts: Parts, folder: RunFolder, clock: Clock) -> dict[str, Any]:
    """Trains, from the checkpoint of a resumed run on, then validates and tests the best weights.

    Args:
        parts: of the training.
        folder: of the run.
        clock: takes the time of both.

    Returns:
        The best checkpoint.
    """
    trainer, module, datamodule = parts.trainer, parts.module, parts.datamodule
    if is_main_process():
        log_config(trainer.loggers, parts.inputs.cfg, parts.inputs.strategy)
    begin_peak(trainer)
    with clock("fit"):
        _fit(parts)
    with clock("test"):
        best = read_verified(folder.best_checkpoint)
        check_state(best["state_dict"], module.trained)
        module.load_state_dict(best["state_dict"], strict=False)
        trainer.validate(module, datamodule, verbose=False)
        trainer.test(module, datamodule, verbose=False)
    return best


def _fit(parts: Parts) -> None:
    try:
        parts.trainer.fit(parts.module, parts.datamodule, ckpt_path=parts.checkpoint, weights_only=True)
    except RuntimeError as error:
        if "returned nan values" in str(error):  # found by trainer.detect_anomaly
            raise diverged(parts.module, parts.trainer.global_step + 1, str(error).rstrip(".")) from error
        raise
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):  # before the first step Lightning makes 1 of it
            raise SystemExit(130) from None
        raise


@contextlib.contextmanager
def recorded(trainer: Trainer, settings: RunConfig, folder: RunFolder, whole: RunFolder) -> Iterator[None]:
    """Writes into status.json why a training ended early, and says how to resume it.

    Args:
        trainer: of the training.
        settings: of the run.
        folder: of the run.
        whole: the run to resume: the same, or the one that this is a stage of.

    Raises:
        UserError: the disk is full, or the memory too small.
    """
    try:
        yield
    except Exception as error:
        if is_main_process() and folder.state() != "finished":
            with contextlib.suppress(OSError):  # the disk may be what has failed
                folder.write_status("failed", error=f"{type(error).__name__}: {error}")
        if isinstance(error, OSError) and error.errno in FULL:
            raise UserError(
                f"A run must be able to write its files; {error.filename or folder.path}: {error.strerror}.\n"
                f"Free some space, then resume it with: {whole.resume_command}"
            ) from error
        if is_out_of_memory(error):
            raise out_of_memory(error, trainer, settings, whole.resume_command) from error
        raise
    except (KeyboardInterrupt, SystemExit):
        if is_main_process():
            if folder.state() != "finished":
                folder.write_status("interrupted", epoch=trainer.current_epoch + 1, step=trainer.global_step)
            # The multirun itself says how all of its jobs go on.
            log.warning("Interrupted.%s", "" if JOB in os.environ else f" Resume it with: {whole.resume_command}")
        raise
