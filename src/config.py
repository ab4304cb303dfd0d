"""The schema of a run: what a composed config must hold, and its typed form."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, model_validator

from src.sections import Component, Fraction, Natural, Positive, Probability, Rate, Section, Seed, Share
from src.switches import Trainer

# A name. On the command line one that looks like a number is one.
Name = Annotated[str, pydantic.BeforeValidator(lambda node: str(node) if type(node) in (int, float) else node)]


def _one_column(name: Any) -> Any:
    if isinstance(name, list):
        raise ValueError(
            f"must name one column; got {', '.join(map(str, name))}: pairs of texts are not supported yet.\n"
            "Join the columns into one first, such as both sentences with a blank between them"
        )
    return name


OneColumn = Annotated[Name, pydantic.BeforeValidator(_one_column)]

FEWEST_PIECES = 100  # of words, in a vocabulary

Task = Literal["auto", "binary", "multiclass", "multilabel"]
Objective = Literal["binary", "multiclass", "multilabel", "mlm"]
Attention = Literal["auto", "sdpa", "eager"]
Pooling = Literal["mean", "cls", "pooler"]
StatePooling = Literal["max", "mean", "last"]


class Pretrained(Section):
    """A backbone from a package, a folder or the hub."""

    name: str | None = None
    package: str | None = None
    sha256: str | None = None
    revision: str | None = None
    attention: Attention = "auto"
    dropout: Probability | None = None
    lr: Rate = 5e-5

    @property
    def title(self) -> str:
        return self.name or self.package or ""

    @model_validator(mode="after")
    def has_a_source(self) -> Self:
        if not self.name and not self.package:
            raise ValueError("needs a name: a hub id (org/name) or a local folder")
        return self


class FromRun(Section):
    """The backbone that a run of masked language modelling has left."""

    run: Annotated[str, Field(min_length=1)]
    attention: Attention
    dropout: Probability | None = None
    lr: Rate

    @property
    def title(self) -> str:
        return self.run


class Scratch(Section):
    """A BERT with random weights, and a tokenizer of the training texts."""

    layers: Positive
    hidden_size: Positive
    heads: Positive
    intermediate_size: Positive
    max_length: Annotated[int, Field(ge=3)]
    dropout: Probability
    tokenizer: str | None
    vocabulary: Annotated[int, Field(ge=FEWEST_PIECES)] | None
    lowercase: bool
    min_frequency: Positive
    attention: Attention
    lr: Rate

    @property
    def title(self) -> str:
        return "scratch"

    @model_validator(mode="after")
    def divides(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size must be a multiple of heads; got {self.hidden_size} and {self.heads}")
        return self


Backbone = Pretrained | FromRun | Scratch
BACKBONES: dict[str, Any] = {"src.pretrained": Pretrained, "src.run": FromRun, "src.scratch": Scratch}


class LinearHead(Component):
    pooling: Pooling
    dropout: Probability


class BiLSTMHead(Component):
    hidden_size: Positive
    layers: Positive
    pooling: StatePooling
    dropout: Probability


class Masking(Section):
    """Which tokens a model has to guess, and what it sees in their place."""

    probability: Fraction
    mask: Share
    random: Share
    whole_words: bool

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        if self.mask + self.random > 1:
            raise ValueError(
                f"mask and random are shares of the same tokens; they add up to {self.mask + self.random:g}"
            )
        return self


class MaskedLanguageHead(Component):
    masking: Masking


Quoting = Literal["auto", "none", "standard"]
# The tags keep the member of the union out of messages, which would name both.
Label = Annotated[
    Annotated[Name, pydantic.Tag("src.one")] | Annotated[list[Name], Field(min_length=2), pydantic.Tag("src.several")],
    pydantic.Discriminator(lambda node: "src.several" if isinstance(node, list) else "src.one"),
]


class Data(Section):
    path: str | None
    name: str | None
    config_name: str | None
    text: OneColumn
    label: Label | None
    label_delimiter: Annotated[str, Field(min_length=1)] | None
    label_names: Annotated[list[Name], Field(min_length=2)] | None = None
    task: Task
    header: bool = True
    quoting: Quoting = "auto"
    ignore_splits: Annotated[list[Literal["validation", "test"]], Field(default_factory=list)]
    validation_fraction: Fraction
    test_fraction: Fraction
    seed: Seed
    limit: Positive | None
    class_weights: Literal["balanced"] | None
    max_length: Annotated[int, Field(ge=3)]
    pack: bool
    batch_size: Positive
    eval_batch_size: Positive
    buckets: bool
    workers: Natural

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        if not self.path and not self.name:
            raise ValueError("needs a path (a file or folder) or a name (a hub data set)")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction must leave rows to train on; "
                f"they add up to {self.validation_fraction + self.test_fraction:g}"
            )
        if isinstance(self.label, list) and self.task not in ("auto", "multilabel"):
            raise ValueError(f"several label columns make multi-label data, but task is {self.task}")
        if isinstance(self.label, list) and self.label_delimiter:
            raise ValueError("label_delimiter goes with one label column, but label lists several")
        if isinstance(self.label, list) and self.label_names:
            raise ValueError("label_names goes with one label column; the names of several columns are the labels")
        names = self.label_names or []
        if len({" ".join(name.split()) for name in names} - {""}) < len(names):
            raise ValueError(f"label_names must be different names, none of them blank; got {names}")
        return self


class Activations(Section):
    mode: Literal["auto", "off", "require"]
    max_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Monitor(Section):
    metric: Annotated[str, Field(pattern=r"^(train|validation)/\w+$")]
    mode: Literal["auto", "min", "max"] = "auto"


class Optimizer(Component):
    lr: Rate
    head_lr: Rate | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    thaw_warmup: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Schedule(Component):
    warmup: Share | None = None
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
            raise ValueError("needs a monitor, the metric whose plateaus lower it: scheduler.monitor=validation/loss")
        if self.is_plateau and self.interval == "step":
            raise ValueError("must have interval=epoch for a plateau, which shows when a metric is measured; got step")
        return self


class Sweep(Section):
    rerun: Literal["failed", "all"]
    by: str | None


class RunConfig(Section):
    """Everything a run is made from. Built by `checking.check`; its parts are plain typed values."""

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
        Annotated[LinearHead, pydantic.Tag("src.heads.LinearHead")]
        | Annotated[BiLSTMHead, pydantic.Tag("src.heads.BiLSTMHead")]
        | Annotated[MaskedLanguageHead, pydantic.Tag("src.heads.MaskedLanguageHead")]
        | Annotated[Component, pydantic.Tag("other")],
        pydantic.Discriminator(lambda node: _head_kind(node)),
    ]
    data: Data
    freeze: Component
    activations: Activations
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: Trainer
    callbacks: dict[str, Component | None]
    logger: Component
    pretrain: dict[str, Any] | None = None
    sweep: Sweep

    @property
    def masks(self) -> bool:
        """Whether the run learns to fill in masked words instead of labels."""
        return isinstance(self.model, MaskedLanguageHead)

    @model_validator(mode="after")
    def is_complete(self) -> Self:
        if self.data.label is None and not self.masks:
            raise ValueError(
                "data.label must name the column with the labels; it is null.\n"
                "Give one: data.label=COLUMN, or learn without labels: model=bert_mlm"
            )
        every, last = self.trainer.check_val_every_n_epoch, self.trainer.max_epochs
        if every > last and self.monitor.metric.startswith("validation/"):
            raise ValueError(
                f"trainer.check_val_every_n_epoch must be at most trainer.max_epochs, since {self.monitor.metric} says "
                f"which epoch is the best; got {every} of {last}"
            )
        if self.data.pack and not self.masks:
            raise ValueError("data.pack=true goes with masked language modelling (model=bert_mlm) only")
        return self


def _head_kind(node: Any) -> str:
    target = node.get("_target_") if isinstance(node, dict) else getattr(node, "target", None)
    known = ("src.heads.LinearHead", "src.heads.BiLSTMHead", "src.heads.MaskedLanguageHead")
    return target if target in known else "other"


def _backbone_kind(node: Any) -> str:
    keys = node if isinstance(node, dict) else vars(node)
    return "src.run" if "run" in keys else "src.scratch" if "hidden_size" in keys else "src.pretrained"
