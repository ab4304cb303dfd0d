"""The Lightning Trainer of a run: the config's switches, callbacks and logger, and what every run has besides.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from src.config import RunConfig
from src.errors import UserError
from src.freezing import Strategy
from src.instantiating import instantiate
from src.runs import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from src.lineage import Lineage

CROWD = 4  # processes for each processor, at most
OWN_KEYS = ("compile", "gradient_checkpointing")  # of the trainer section; the others are Lightning's


def build_trainer(
    cfg: DictConfig, settings: RunConfig, strategy: Strategy, folder: RunFolder, phases: int, lineage: Lineage
) -> Trainer:
    """The Lightning Trainer with the callbacks and logger of the config, for a training of so many phases.

    Raises:
        UserError: Lightning refuses a value, such as a device that is not there.
    """
    from pytorch_lightning.accelerators import CPUAccelerator

    from src.callbacks import RandomStates, Status
    from src.phases import Phases
    from src.report import dashboard
    from src.saving import CheckpointFiles

    chosen = [instantiate(node, f"callbacks.{name}") for name, node in cfg.callbacks.items() if node]
    several = phases > 1 and cfg.trainer.strategy == "ddp"
    arguments = {str(key): value for key, value in cfg.trainer.items() if key not in OWN_KEYS}
    trainer: Trainer = instantiate(
        OmegaConf.create(arguments),
        "trainer",
        callbacks=[Status(folder), RandomStates(), lineage, Phases(settings), *chosen],
        plugins=[CheckpointFiles()],
        logger=instantiate(cfg.logger, "logger", **dashboard.options(cfg, strategy)),
        default_root_dir=str(folder.path),
        # In each phase some of the parameters that the processes share have no gradient.
        **({"strategy": "ddp_find_unused_parameters_true"} if several else {}),
        use_distributed_sampler=False,  # the batch plan shares rows out, and keeps every row once
        enable_model_summary=False,
        enable_progress_bar=cfg.callbacks.get("progress") is not None,
    )
    most = CROWD * (os.cpu_count() or 1)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise UserError(
            f"trainer.devices must be at most {most} on this machine, a few processes for each of its processors; got "
            f"{trainer.num_devices}.\nLower it."
        )
    return trainer
