"""The data section of a config."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, PlainValidator, model_validator

from src.config.sections import Fraction, Natural, Positive, Section, Seed

# Hydra parses a name that looks like a number as a number.
Name = Annotated[str, pydantic.BeforeValidator(lambda node: str(node) if type(node) in (int, float) else node)]


def _one_column(name: Any) -> Any:
    if isinstance(name, list):
        raise ValueError(
            f"must name one column; got {', '.join(map(str, name))}: pairs of texts are not supported.\n"
            "Join the columns into one first, with a space between the two texts"
        )
    return name


OneColumn = Annotated[Name, pydantic.BeforeValidator(_one_column)]


Task = Literal["auto", "binary", "multiclass", "multilabel"]


Quoting = Literal["auto", "none", "standard"]


# With tags, messages are about the union member that was meant instead of all of them.
Label = Annotated[
    Annotated[Name, pydantic.Tag("src.one")] | Annotated[list[Name], Field(min_length=2), pydantic.Tag("src.several")],
    pydantic.Discriminator(lambda node: "src.several" if isinstance(node, list) else "src.one"),
]


ClassWeights = Annotated[
    Annotated[Literal["balanced"], pydantic.Tag("src.balanced")]
    | Annotated[
        dict[Name, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1), pydantic.Tag("src.weights")
    ],
    pydantic.Discriminator(lambda node: "src.weights" if isinstance(node, dict) else "src.balanced"),
]


def _train_size(value: Any) -> int | float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and (0 < value <= 1 if isinstance(value, float) else value >= 1)):
        raise ValueError(f"must be a number of examples, at least 1, or a fraction of them up to 1.0; got {value}")
    found: int | float | None = value
    return found


def equal_steps(epochs: int, *, _root_: DictConfig) -> int:
    """Returns how many epochs of `data.train_size` have the optimizer steps of `epochs` epochs of all training texts.

    A resolver for configs: `${equal_steps:10}`. Which fraction a number of texts is, is not known; it gets `epochs`.
    """
    size = _root_.data.train_size
    return epochs * max(1, round(1 / size)) if isinstance(size, float) else epochs


OmegaConf.register_new_resolver("equal_steps", equal_steps, replace=True)


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
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Natural | None = None
    repeat: Natural = 0
    train_size: Annotated[int | float | None, PlainValidator(_train_size)] = None
    class_weights: ClassWeights | None
    sampling: Literal["balanced"] | None = None
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
        if self.folds is None and self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction must leave rows to train on; "
                f"they add up to {self.validation_fraction + self.test_fraction:g}"
            )
        if isinstance(self.label, list) and self.task not in ("auto", "multilabel"):
            raise ValueError(f"with several label columns must have task=multilabel or auto; got task={self.task}")
        if isinstance(self.label, list) and self.label_delimiter:
            raise ValueError("label_delimiter needs a single label column, but label lists several")
        if isinstance(self.label, list) and self.label_names:
            raise ValueError(
                "label_names needs a single label column; with several columns, the column names are the labels"
            )
        if self.sampling and self.class_weights:
            raise ValueError(
                "sampling and class_weights both make rare labels count more; together they count twice.\n"
                "Choose one of them"
            )
        names = self.label_names or []
        if len({" ".join(name.split()) for name in names} - {""}) < len(names):
            raise ValueError(f"label_names must be distinct and not blank; got {names}")
        return self

    @model_validator(mode="after")
    def has_its_fold(self) -> Self:
        if self.folds is None and self.fold is not None:
            raise ValueError(
                f"needs data.folds, the number of folds, with data.fold={self.fold}; data.folds has no value.\n"
                "Give it: data.folds=5, or leave both out for no cross-validation"
            )
        if self.folds is not None and (self.fold is None or self.fold >= self.folds):
            found = "it has no value" if self.fold is None else f"got {self.fold}"
            raise ValueError(
                f"needs data.fold, the number of the fold that is the test split, from 0 to {self.folds - 1} with "
                f"data.folds={self.folds}; {found}.\n"
                f"All of them: python -m src.train -m data.folds={self.folds} 'data.fold=range(0,{self.folds})'"
            )
        return self
