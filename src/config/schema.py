"""The schema of a run: what a composed config must hold, and its typed form."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, model_validator

from src.config.backbone import FromRun, Pretrained, Scratch
from src.config.data import Data
from src.config.decision import Calibration, Costs, Threshold
from src.config.model import BiLSTMHead, ClassifierHead, LinearHead, MaskedLanguageHead
from src.config.race import Race
from src.config.reading import WindowPooling
from src.config.sections import Component, Fraction, LearningRate, Section, Seed, UnitInterval
from src.config.trainer_switches import Trainer

Objective = Literal["binary", "multiclass", "multilabel", "regression", "mlm"]


class Activations(Section):
    mode: Literal["auto", "off", "require"]
    max_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Monitor(Section):
    metric: str
    mode: Literal["auto", "min", "max"] = "auto"


class Optimizer(Component):
    lr: LearningRate
    head_lr: LearningRate | Literal["auto"] | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    thaw_warmup: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Schedule(Component):
    warmup: UnitInterval | None = None
    rise: Fraction | None = None


class Scheduler(Section):
    interval: Literal["step", "epoch"]
    monitor: str | None = None
    schedule: Schedule

    @property
    def is_plateau(self) -> bool:
        return self.schedule.target.endswith("ReduceLROnPlateau")

    @model_validator(mode="after")
    def watches_epochs(self) -> Self:
        if self.is_plateau and not self.monitor:
            raise ValueError("needs a metric whose plateaus lower the learning rate: scheduler.monitor=validation/loss")
        if self.is_plateau and self.interval == "step":
            raise ValueError("must have interval=epoch for a plateau, since metrics are measured per epoch; got step")
        return self


class Sweep(Section):
    rerun: Literal["failed", "all"]
    by: str | None


class RunConfig(Section):
    """The typed config of a run, from `validation.check`."""

    seed: Seed
    monitor: Monitor
    run: Annotated[str, Field(min_length=1)]
    resume: bool | Literal["force"]
    cache: str
    backbone: Annotated[
        Annotated[Pretrained, pydantic.Tag("src.pretrained")]
        | Annotated[FromRun, pydantic.Tag("src.run")]
        | Annotated[Scratch, pydantic.Tag("src.scratch")],
        pydantic.Discriminator(lambda node: _backbone_kind(node)),
    ]
    model: Annotated[
        Annotated[LinearHead, pydantic.Tag("src.models.heads.LinearHead")]
        | Annotated[BiLSTMHead, pydantic.Tag("src.models.heads.BiLSTMHead")]
        | Annotated[MaskedLanguageHead, pydantic.Tag("src.models.heads.MaskedLanguageHead")]
        | Annotated[ClassifierHead, pydantic.Tag("other")],
        pydantic.Discriminator(lambda node: _head_kind(node)),
    ]
    data: Data
    freeze: Component
    activations: Activations
    calibration: Calibration | None = None
    threshold: Threshold | None = None
    costs: Costs = Costs()
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: Trainer
    callbacks: dict[str, Component | None]
    logger: dict[str, Component | None]
    pretrain: dict[str, Any] | None = None
    sweep: Sweep
    race: Race | None = None

    @property
    def is_mlm(self) -> bool:
        """Whether the run is masked language modelling."""
        return isinstance(self.model, MaskedLanguageHead)

    @property
    def pooled_windows(self) -> WindowPooling | None:
        """How the logits of a text's windows become one; None where nothing is said."""
        return self.model.windows if isinstance(self.model, ClassifierHead) else None

    @model_validator(mode="after")
    def is_complete(self) -> Self:
        if self.data.label is None and not self.is_mlm:
            raise ValueError(
                "data.label must name the column with the labels; it is null.\n"
                "Give one: data.label=COLUMN, or train without labels: model=bert_mlm"
            )
        every, last = self.trainer.check_val_every_n_epoch, self.trainer.max_epochs
        if every > last and self.monitor.metric.startswith("validation/"):
            raise ValueError(
                f"trainer.check_val_every_n_epoch must be at most trainer.max_epochs, since {self.monitor.metric} "
                f"decides which epoch is the best; got {every} and {last}"
            )
        if self.data.pack and not self.is_mlm:
            raise ValueError("data.pack=true needs masked language modelling: model=bert_mlm")
        if self.data.windows and self.is_mlm:
            raise ValueError(
                "data.windows=true needs a classifier; masked language modelling predicts tokens of single sequences.\n"
                "Choose data.windows=false; of a pretraining stage, +pretrain.data.windows=false"
            )
        if self.pooled_windows and not self.data.windows:
            raise ValueError(
                f"model.windows={self.pooled_windows} says how windows of a text are combined; data.windows is false.\n"
                "Choose data.windows=true, or leave out model.windows"
            )
        return self

    @model_validator(mode="after")
    def knows_its_costs(self) -> Self:
        if self.threshold == "cost" and (missing := self.costs.missing):
            have = "has" if len(missing) == 1 else "have"
            raise ValueError(
                f"threshold=cost needs what each of the two mistakes costs; {' and '.join(missing)} {have} no value.\n"
                "For example: costs.false_positive=1 costs.false_negative=5"
            )
        return self

    @model_validator(mode="after")
    def has_a_loss_of_its_task(self) -> Self:
        head, regression = self.model, self.data.task == "regression"
        if not isinstance(head, ClassifierHead):
            return self
        if regression and (head.label_smoothing is not None or head.loss in ("cross_entropy", "focal")):
            found = "label_smoothing" if head.label_smoothing is not None else f"loss={head.loss}"
            raise ValueError(
                f"model.{found} is for classes; data.task=regression predicts numbers.\n"
                "Leave it out, or choose model.loss=mse or model.loss=huber"
            )
        if not regression and head.loss in ("mse", "huber"):
            raise ValueError(
                f"model.loss={head.loss} is for numbers; data.task={self.data.task} predicts classes.\n"
                "Leave it out, or choose data.task=regression"
            )
        return self


def _head_kind(node: Any) -> str:
    target = node.get("_target_") if isinstance(node, dict) else getattr(node, "target", None)
    known = ("src.models.heads.LinearHead", "src.models.heads.BiLSTMHead", "src.models.heads.MaskedLanguageHead")
    return target if target in known else "other"


def _backbone_kind(node: Any) -> str:
    keys = node if isinstance(node, dict) else vars(node)
    return "src.run" if "run" in keys else "src.scratch" if "hidden_size" in keys else "src.pretrained"
