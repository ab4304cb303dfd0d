"""Leads a training through the phases of its strategy, and audits each of them."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason as Reason
from pytorch_lightning.loggers import TensorBoardLogger

from src.caching.flops import StepFlops
from src.caching.use_store import use_store
from src.callbacks.audit import Audit, count
from src.callbacks.ending import Ending, find, has_stopped
from src.callbacks.saving import Saving
from src.callbacks.stage_tables import audit_table, stage_counts, stage_table
from src.config.monitor import resolved, sign
from src.config.schema import RunConfig
from src.datamodules.ragged import Batch
from src.freezing.reached_phases import trained_phases, unreached_warning
from src.freezing.strategy import End
from src.models.networks import check_state
from src.modules.freezable import FreezableModule
from src.runs.checkpoints import read_verified

log = logging.getLogger(__name__)


class Phases(Callback):
    """Begins each phase at the start of an epoch: sets what trains, opens the activation store at the new depth, and
    says so in the log and in TensorBoard. Everything that decides about it is in the checkpoint.

    Args:
        cfg: the run's.
    """

    def __init__(self, cfg: RunConfig) -> None:
        self.cfg = cfg
        self.audit = Audit()
        self.operations = StepFlops()
        self.epochs = 0  # of this phase so far
        self.best, self.waited = math.nan, 0  # the best value of the monitored metric, and validations since
        self.over_at: int | None = None  # the step at which this phase ended, until the next begins
        self.done: list[dict[str, Any]] = []  # for result.json: a phase each
        self.current: dict[str, Any] = {}
        self.encoding_seconds = 0.0
        self.threads = torch.get_num_threads()  # of this process, where a store does not make steps too small to share

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            _freezable(pl_module).enter_all_phases()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = _freezable(pl_module)
        if self.over_at is not None:
            self._begin_next(trainer, module)
        elif self.current:
            module.enter_phase(module.phase)
            if self.cfg.resume == "force":
                self.audit.accept_frozen(module)
            else:
                self.audit.check_frozen(module)
            self._announce(trainer, module)
            self._open_store(trainer, module)
        else:
            self._begin(trainer, module, 0, step=0)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.over_at is not None:
            self._begin_next(trainer, _freezable(pl_module))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if not self.cfg.trainer.compile:  # compiled code cannot be looked into
            self.operations.begin_step(batch)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.operations.end_step()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.operations.end_step()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.audit.watch(_freezable(pl_module), optimizer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        # Not at the end of each epoch, since not each one need be validated.
        value = float(trainer.callback_metrics.get(self.cfg.monitor.metric, math.nan))
        end = _freezable(pl_module).phases[_freezable(pl_module).phase].end
        if math.isnan(self.best) or sign(self.cfg.monitor.metric) * (value - self.best) > end.min_delta:
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = _freezable(pl_module)
        self.epochs += 1
        if module.phase + 1 < len(module.phases) and self._has_ended(module.phases[module.phase].end):
            self._finish(trainer, module)
            self.over_at = trainer.global_step

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.set_num_threads(self.threads)
        # Not at the end of the training, which Lightning leaves out where a resumed run has no step left to take.
        module = _freezable(pl_module)
        # A resumed run may have begun a phase and have no step left to take in it.
        if self.over_at is None and trainer.global_step > self.current["first_step"]:
            self._finish(trainer, module)
        limit = find(trainer, Ending).describe(trainer, module)["by"]
        if left := unreached_warning(len(trained_phases(module.phases, self.done)), len(module.phases), limit):
            log.warning("%s", left)

    def _has_ended(self, end: End) -> bool:
        return self.waited >= end.patience if end.epochs is None else self.epochs >= end.epochs

    def _begin_next(self, trainer: Trainer, module: FreezableModule) -> None:
        assert self.over_at is not None
        step, self.over_at = self.over_at, None
        if module.phases[module.phase + 1].restore_best:
            _restore_best(trainer, module)
        self._begin(trainer, module, module.phase + 1, step)

    def _begin(self, trainer: Trainer, module: FreezableModule, index: int, step: int) -> None:
        module.enter_phase(index, step)
        self.epochs, self.best, self.waited = 0, math.nan, 0
        self.audit.begin(module)
        self.operations.begin_phase()
        self.current = {
            "trainable": [stage.name for stage in module.stages if stage_counts(module, stage)[1]],
            "trainable_parameters": count(module, module.phases[index].trainable),
            "first_step": step,
        }
        self._announce(trainer, module)
        self._open_store(trainer, module)

    def _finish(self, trainer: Trainer, module: FreezableModule) -> None:
        rows = self.audit.end(module) if trainer.global_step > self.current["first_step"] else []
        self.done.append(
            {
                **self.current,
                "epochs": self.epochs,
                "last_step": trainer.global_step,
                "operations": self.operations.total * trainer.world_size or None,
                "audit": rows,
            }
        )
        if not trainer.is_global_zero:
            return
        log.info("Audit of phase %d\n%s", module.phase + 1, table := audit_table(rows))
        for logger in trainer.loggers:
            logger.log_metrics(self._point(module), trainer.global_step)
        self._show(trainer, "freezing/audit", f"Phase {module.phase + 1}", table, trainer.global_step)

    def _open_store(self, trainer: Trainer, module: FreezableModule) -> None:
        begin = time.perf_counter()
        torch.set_num_threads(self.threads)
        self.current["activations"] = found = use_store(trainer, module, self.cfg)
        earlier = {phase["activations"].get("store") for phase in self.done if phase["activations"]["used"]}
        if found["used"] and found["store"] in earlier:  # a run needs each store once
            found["operations"] = 0.0
        self.encoding_seconds += time.perf_counter() - begin
        if self.cfg.trainer.compile:
            module.recompile()

    def _point(self, module: FreezableModule) -> dict[str, float]:
        return {
            "freezing/phase": module.phase + 1,
            "freezing/trainable_parameters": self.current["trainable_parameters"],
        }

    def _announce(self, trainer: Trainer, module: FreezableModule) -> None:
        if not trainer.is_global_zero:
            return
        table, first = stage_table(module), self.current["first_step"]
        if len(module.phases) > 1:
            log.info("Phase %d of %d, from step %d", module.phase + 1, len(module.phases), first)
        log.info("%s", table)
        for logger in trainer.loggers:
            logger.log_metrics(self._point(module), first)
        self._show(trainer, "freezing/phase", f"Phase {module.phase + 1} of {len(module.phases)}", table, first)

    def _show(self, trainer: Trainer, tag: str, title: str, table: str, step: int) -> None:
        indented = "\n".join(f"    {line}" for line in table.splitlines())  # as code, in a fixed width
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text(tag, f"{title}\n\n{indented}", step)

    def state_dict(self) -> dict[str, Any]:
        names = ("epochs", "best", "waited", "over_at", "done", "current", "encoding_seconds")
        parts = {"audit": self.audit.state_dict(), "operations": self.operations.state_dict()}
        return {**parts, **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.audit.load_state_dict(state.pop("audit"))
        self.operations.load_state_dict(state.pop("operations"))
        for name, value in state.items():
            setattr(self, name, value)


class LastPhaseStopping(EarlyStopping):
    """Lightning's early stopping, from the last phase on: a phase that does not improve gives way to the next.

    Args:
        monitor: the metric that must improve.
        mode: `auto`, or the one that the metric has in any case.
        patience: validations without improvement.
        options: Lightning's.

    Raises:
        ValueError: the mode contradicts the metric, or the patience is no number of validations from 1 on.
    """

    def __init__(self, monitor: str, mode: str = "auto", patience: int = 3, **options: Any) -> None:
        if type(patience) is not int or patience < 1:
            raise ValueError(f"patience must be a number of validations, at least 1, such as 3; got {patience!r}")
        super().__init__(monitor, mode=resolved(mode, monitor), patience=patience, **options)

    def _should_skip_check(self, trainer: Trainer) -> bool:
        module = _freezable(trainer.lightning_module)
        return module.phase + 1 < len(module.phases) or super()._should_skip_check(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.monitor.startswith("train/"):  # which Lightning would look for after validations, that come before it
            self._check_on_train_epoch_end = True
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        patience = self.patience
        super().load_state_dict(state_dict)
        self.patience = patience  # which a resumed run may have been given anew

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning forgets that a run had stopped already when it was interrupted.
        if has_stopped(self, _freezable(pl_module).history):
            trainer.should_stop = True
        else:
            self.stopping_reason = Reason.NOT_STOPPED


def _freezable(module: LightningModule) -> FreezableModule:
    assert isinstance(module, FreezableModule)
    return module


def _restore_best(trainer: Trainer, module: FreezableModule) -> None:
    saving = trainer.checkpoint_callback
    if isinstance(saving, Saving) and saving.best_step >= 0:
        state = read_verified(saving.best)["state_dict"]
        check_state(state, module.trained)
        module.load_state_dict(state, strict=False)
        log.info("The phase begins with the best weights so far.")
