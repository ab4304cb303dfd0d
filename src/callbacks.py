"""What every training is watched by: run status, random states, the table of stages."""

from __future__ import annotations

import logging
import random
import time
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.table import Table

from src.caching import use_store
from src.config import RunConfig
from src.freezing import Stage
from src.modules import TextClassifier
from src.runs import RunFolder

log = logging.getLogger(__name__)


class Status(Callback):
    """Keeps status.json true while a run goes on."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, "running")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self._write(trainer, "interrupted")

    def _write(self, trainer: Trainer, state: str) -> None:
        if trainer.is_global_zero:
            self.folder.write_status(state, epoch=trainer.current_epoch, step=trainer.global_step)


class RandomStates(Callback):
    """Keeps all random states in the checkpoint, as tensors and primitives, so that a resumed run draws what an
    uninterrupted one would have drawn."""

    def __init__(self) -> None:
        self._restore: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        version, internal, gauss_next = random.getstate()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "torch": torch.get_rng_state(),
            "cuda": cuda,
            "numpy": [
                str(name),
                torch.from_numpy(np.array(keys, dtype=np.int64)),
                int(position),
                int(has_gauss),
                float(gauss),
            ],
            "python": [version, list(internal), gauss_next],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Setting up a training draws numbers too; the states are put back when it starts.
        self._restore = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._restore is None:
            return
        states, self._restore = self._restore, None
        torch.set_rng_state(states["torch"].cpu())
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
        name, keys, position, has_gauss, gauss = states["numpy"]
        np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
        version, internal, gauss_next = states["python"]
        random.setstate((version, tuple(internal), gauss_next))


class ActivationStore(Callback):
    """Lets a training go on from what its frozen layers make of every text, computed beforehand."""

    def __init__(self, cfg: RunConfig) -> None:
        self.cfg = cfg
        self.result: dict[str, Any] = {}  # for result.json
        self.seconds = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TextClassifier)
        begin = time.perf_counter()
        self.result = use_store(trainer, pl_module, self.cfg)
        self.seconds += time.perf_counter() - begin


class StageTable(Callback):
    """Shows at the start of a training what trains: per stage the parameters, how many train, and the mode."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TextClassifier)
        if trainer.is_global_zero:
            log.info("%s", stage_table(pl_module))


def stage_table(module: TextClassifier) -> str:
    """The table of stages as text, with the totals in the last row."""
    table = Table("stage", box=None, pad_edge=False)
    for column in ("parameters", "trainable"):
        table.add_column(column, justify="right")
    table.add_column("mode")
    total = trainable = 0
    for stage in module.stages:
        count, training = stage_counts(module, stage)
        table.add_row(stage.name, f"{count:,}", f"{training:,}", _mode(module, stage))
        total, trainable = total + count, trainable + training
    table.add_row("total", f"{total:,}", f"{trainable:,}", f"{trainable / total:.1%} trains")
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def stage_counts(module: TextClassifier, stage: Stage) -> tuple[int, int]:
    """How many parameters a stage has, and how many of them train now."""
    named = module.named_stage_parameters()
    parameters = [named[name] for name in stage.parameters]
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _mode(module: TextClassifier, stage: Stage) -> str:
    """The mode of the modules that own the stage's parameters."""
    owners = {name.rpartition(".")[0] for name in stage.parameters}
    modes = {_owner(module, owner).training for owner in owners}
    return "mixed" if len(modes) > 1 else "train" if modes == {True} else "eval"


def _owner(module: TextClassifier, name: str) -> torch.nn.Module:
    in_head = name == "head" or name.startswith("head.")
    return module.get_submodule(name) if in_head else module.encoder.get_submodule(name)


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
        return {name.removeprefix("validation/"): value for name, value in metrics.items() if name != "v_num"}
