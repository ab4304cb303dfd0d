"""The Lightning Trainer of a run: the config's switches, callbacks and logger, and what every run has besides.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.config.instantiate import instantiate
from src.config.length import Length, length, limited
from src.config.schema import RunConfig
from src.config.trainer_switches import ONLY, OWN
from src.config.trainer_switches import Trainer as Switches
from src.errors import UserError
from src.freezing.strategy import Strategy
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning import Callback, Trainer

    from src.datamodules.datamodule import TextDataModule

log = logging.getLogger(__name__)

CROWD = 4  # processes per CPU core, at most


# What this project does in its own way.
HANDLED = {*OWN, *ONLY, "target", "max_steps", "profiler", "enable_progress_bar"}


def build_trainer(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, folder: RunFolder, phases: int, kept: Sequence[Callback]
) -> Trainer:
    """The Lightning Trainer with the callbacks and logger of the config, for a training of so many phases, and with
    callbacks that keep in checkpoints what is known of the run.

    Raises:
        UserError: Lightning refuses a value, such as a number of devices that are not there.
    """
    import torch

    from src.callbacks.saving import CheckpointFiles
    from src.training.loggers import build_loggers

    chosen = settings.trainer
    # Elsewhere, as in a file or a notebook, a bar is hundreds of lines; a line for each epoch is logged there.
    shown = chosen.enable_progress_bar and cfg.callbacks.get("progress") is not None and sys.stdout.isatty()
    loggers = build_loggers(cfg, strategy, folder)
    arguments = {
        **{name: getattr(chosen, name) for name in Switches.model_fields.keys() - HANDLED},
        "callbacks": [*_own_callbacks(settings, folder, kept), *_callbacks_of(cfg, shown, bool(loggers))],
        "plugins": [CheckpointFiles()],
        "logger": loggers,
        "profiler": _profiler(chosen.profiler, folder),
        "default_root_dir": str(folder.path),
        "use_distributed_sampler": False,  # the batch plan shares rows out, and keeps every row once
        "enable_progress_bar": shown,
    }
    node = OmegaConf.create({"_target_": chosen.target, "_convert_": "all"})
    trainer: Trainer = instantiate(node, "trainer", **arguments)
    _check_processes(trainer)
    if phases > 1 and trainer.world_size > 1 and chosen.strategy in ("auto", "ddp"):
        # In each phase some of the parameters that the processes share have no gradient.
        arguments["strategy"] = "ddp_find_unused_parameters_true"
        trainer = instantiate(node, "trainer", **arguments)
    if (device := trainer.strategy.root_device).type == "cuda":
        log.info("Computing in %s on %s", chosen.precision, torch.cuda.get_device_name(device))
    return trainer


def _own_callbacks(settings: RunConfig, folder: RunFolder, kept: Sequence[Callback]) -> list[Callback]:
    """Those that every run has, in the order in which they are called."""
    from src.callbacks.divergence import Divergence
    from src.callbacks.ending import Ending
    from src.callbacks.phases import Phases
    from src.callbacks.progress import Epochs, Status
    from src.callbacks.random_states import RandomStates

    return [Divergence(), Status(folder), Epochs(), RandomStates(), *kept, Ending(settings), Phases(settings)]


def _callbacks_of(cfg: DictConfig, shown: bool, logged: bool) -> list[Callback]:
    """Those of the config, without a progress bar that is not `shown`, and without those that need a logger if nothing
    is `logged`, as where the only logger is left out.

    Raises:
        UserError: one of them averages weights.
    """
    from pytorch_lightning import Callback
    from pytorch_lightning.callbacks import LearningRateMonitor, StochasticWeightAveraging, WeightAveraging

    nodes = {name: node for name, node in cfg.callbacks.items() if node and (shown or name != "progress")}
    built = {name: instantiate(node, f"callbacks.{name}", Callback) for name, node in nodes.items()}
    for name, callback in built.items():
        # They replace the weights after the best were saved, also frozen ones, and again when the best are validated.
        if isinstance(callback, StochasticWeightAveraging | WeightAveraging):
            raise UserError(
                f"callbacks.{name} must not average weights, since results are those of the weights of the best epoch; "
                f"got {type(callback).__name__}.\nLeave it out."
            )
    return [callback for callback in built.values() if logged or not isinstance(callback, LearningRateMonitor)]


def _profiler(kind: str | None, folder: RunFolder) -> Any:
    """One that leaves what it finds in the run's folder."""
    from pytorch_lightning import profilers

    kinds = {"simple": profilers.SimpleProfiler, "advanced": profilers.AdvancedProfiler}
    return kinds[kind](dirpath=str(folder.path / "profile"), filename=kind) if kind else None


def _check_processes(trainer: Trainer) -> None:
    """
    Raises:
        UserError: there are too many processes for the CPU.
    """
    from pytorch_lightning.accelerators import CPUAccelerator

    most = CROWD * (os.cpu_count() or 1)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise UserError(
            f"trainer.devices must be at most {most} on this machine, a few processes for each of its processors; got "
            f"{trainer.num_devices}.\nLower it."
        )


def check_length(settings: RunConfig, datamodule: TextDataModule) -> None:
    """Whether a training has the batches and validations that it needs.

    Raises:
        UserError: a share of batches is none, or the training would end too soon.
    """
    chosen, metric = settings.trainer, settings.monitor.metric
    batches = len(datamodule.train_dataloader())
    limits = {"train": chosen.limit_train_batches, "val": chosen.limit_val_batches}
    if chosen.overfit_batches:
        limits = dict.fromkeys(limits, chosen.overfit_batches)
    sizes = {"train": batches, "val": len(datamodule.val_dataloader()), "test": len(datamodule.test_dataloader())}
    for split, limit in (limits | {"test": chosen.limit_test_batches}).items():
        if not limited(sizes[split], limit):
            key = "overfit_batches" if chosen.overfit_batches and split != "test" else f"limit_{split}_batches"
            raise UserError(
                f"trainer.{key} must leave a batch of the {sizes[split]} that there are; got {limit}.\n"
                f"Give a number of batches, trainer.{key}=1, a larger share, or smaller batches: "
                f"data.{'batch_size' if split == 'train' else 'eval_batch_size'}."
            )
    if chosen.max_steps > 0:
        _check_steps(chosen, length(chosen, batches), metric)


def _check_steps(chosen: Switches, found: Length, metric: str) -> None:
    """
    Args:
        chosen: the trainer's section, with an end after so many steps.
        found: how long the training is.
        metric: that says which epoch is the best.

    Raises:
        UserError: that end comes too soon.
    """
    least = (chosen.min_epochs or 0) * found.epoch_steps
    if found.steps < least:
        raise UserError(
            f"trainer.min_epochs must end before trainer.max_steps; {chosen.min_epochs} epochs have {least} steps, "
            f"more than {chosen.max_steps}.\nLower the first."
        )
    # A training that ends within an epoch ends with a validation if that epoch has one.
    if metric.startswith("validation/") and found.epochs < chosen.check_val_every_n_epoch:
        raise UserError(
            f"trainer.max_steps must not end the training before its first validation, since {metric} says which epoch "
            f"is the best; {chosen.max_steps} steps end in epoch {found.epochs}, trainer.check_val_every_n_epoch is "
            f"{chosen.check_val_every_n_epoch}.\nRaise the first or lower the second."
        )
    if found.steps < chosen.max_steps:
        said = "trainer.max_epochs=%d ends the training after %d steps, before trainer.max_steps=%d."
        log.warning(said, chosen.max_epochs, found.steps, chosen.max_steps)
