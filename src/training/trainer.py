"""The Lightning Trainer of a run: the config's switches, callbacks and logger, and what every run has besides.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.config.instantiate import instantiate
from src.config.length import length, limited
from src.config.schema import RunConfig
from src.config.trainer_switches import ONLY, OWN
from src.config.trainer_switches import Trainer as Switches
from src.errors import UserError
from src.freezing.strategy import Strategy
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from src.datamodules.datamodule import TextDataModule
    from src.training.provenance import Lineage

log = logging.getLogger(__name__)

CROWD = 4  # processes for each processor, at most


# What this project does in its own way.
HANDLED = {*OWN, *ONLY, "target", "max_steps", "profiler", "enable_progress_bar"}


def build_trainer(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, folder: RunFolder, phases: int, lineage: Lineage
) -> Trainer:
    """The Lightning Trainer with the callbacks and logger of the config, for a training of so many phases.

    Raises:
        UserError: Lightning refuses a value, such as a device that is not there.
    """
    from src.training import loggers
    from src.training.callbacks import RandomStates, Status
    from src.training.divergence import Divergence
    from src.training.ending import Ending
    from src.training.phases import Phases
    from src.training.saving import CheckpointFiles

    chosen = settings.trainer
    _check_precision(chosen)
    shown = chosen.enable_progress_bar and cfg.callbacks.get("progress") is not None
    nodes = {name: node for name, node in cfg.callbacks.items() if node and (shown or name != "progress")}
    callbacks = [instantiate(node, f"callbacks.{name}") for name, node in nodes.items()]
    own = [Divergence(), Status(folder), RandomStates(), lineage, Ending(settings), Phases(settings)]
    several = phases > 1 and chosen.strategy == "ddp"
    trainer: Trainer = instantiate(
        OmegaConf.create({"_target_": chosen.target, "_convert_": "all"}),
        "trainer",
        **{
            **{name: getattr(chosen, name) for name in Switches.model_fields.keys() - HANDLED},
            # In each phase some of the parameters that the processes share have no gradient.
            **({"strategy": "ddp_find_unused_parameters_true"} if several else {}),
        },
        callbacks=[*own, *callbacks],
        plugins=[CheckpointFiles()],
        logger=instantiate(cfg.logger, "logger", **loggers.options(cfg, strategy)),
        profiler=_profiler(chosen.profiler, folder),
        default_root_dir=str(folder.path),
        use_distributed_sampler=False,  # the batch plan shares rows out, and keeps every row once
        enable_progress_bar=shown,
    )
    _check_devices(trainer)
    return trainer


def _profiler(kind: str | None, folder: RunFolder) -> Any:
    """One that leaves what it finds in the run's folder."""
    from pytorch_lightning import profilers

    kinds = {"simple": profilers.SimpleProfiler, "advanced": profilers.AdvancedProfiler}
    return kinds[kind](dirpath=str(folder.path / "profile"), filename=kind) if kind else None


def _check_precision(chosen: Switches) -> None:
    """
    Raises:
        UserError: the device does not have it. Lightning would take another.
    """
    from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator

    gpu = chosen.accelerator != "cpu" and (CUDAAccelerator.is_available() or MPSAccelerator.is_available())
    if chosen.precision == "16-mixed" and not gpu:
        raise UserError("trainer.precision=16-mixed needs a GPU; this is a processor.\nChoose bf16-mixed.")


def _check_devices(trainer: Trainer) -> None:
    """
    Raises:
        UserError: there are too many processes for the processor.
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
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    for split, loader in zip(("train", "val", "test"), loaders, strict=True):
        key = f"limit_{split}_batches" if split == "test" or not chosen.overfit_batches else "overfit_batches"
        if not limited(len(loader), share := getattr(chosen, key)):
            raise UserError(
                f"trainer.{key} must leave a batch of the {len(loader)} that there are; got {share}.\n"
                f"Give {1 / len(loader):.3g} or more, or a number of batches: trainer.{key}=1."
            )
    found = length(chosen, len(loaders[0]))
    if chosen.max_steps > 0 and chosen.min_epochs and found.steps < chosen.min_epochs * found.epoch_steps:
        raise UserError(
            f"trainer.min_epochs must end before trainer.max_steps; {chosen.min_epochs} epochs have "
            f"{chosen.min_epochs * found.epoch_steps} steps, more than {chosen.max_steps}.\nLower the first."
        )
    if found.steps < chosen.max_steps:
        log.warning(
            "trainer.max_epochs=%d ends the training after %d steps, before trainer.max_steps=%d.",
            chosen.max_epochs,
            found.steps,
            chosen.max_steps,
        )
    # A training that ends within an epoch ends with a validation if that epoch has one.
    if metric.startswith("validation/") and found.epochs < chosen.check_val_every_n_epoch:
        raise UserError(
            f"trainer.max_steps must not end the training before its first validation, since {metric} says which epoch "
            f"is the best; {chosen.max_steps} steps end in epoch {found.epochs}, trainer.check_val_every_n_epoch is "
            f"{chosen.check_val_every_n_epoch}.\nRaise the first or lower the second."
        )
