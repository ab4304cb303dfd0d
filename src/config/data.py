"""The data section of a config."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

import pydantic
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, PlainValidator, model_validator

from src.config.reading import Reading, Truncation
from src.config.sections import Fraction, Natural, Positive, Section, Seed
from src.config.text_files import Delimiter, Encoding, Quoting
from src.config.wording import joined

# Hydra parses a name that looks like a number as a number.
Name = Annotated[str, pydantic.BeforeValidator(lambda node: str(node) if type(node) in (int, float) else node)]


def _each_once(names: list[str]) -> list[str]:
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"must list different columns, at least two; got [{', '.join(names)}].\n"
            "Without brackets it names a single column"
        )
    return names


# With tags, messages are about the union member that was meant instead of all of them.
ONE, SEVERAL = pydantic.Tag("src.one"), pydantic.Tag("src.several")
one_or_several = pydantic.Discriminator(lambda node: "src.several" if isinstance(node, list) else "src.one")


# One column, or several.
TextColumns = Annotated[
    Annotated[Name, ONE] | Annotated[list[Name], pydantic.AfterValidator(_each_once), SEVERAL], one_or_several
]


SHORTEST_PAIR = 6  # tokens: RoBERTa puts four special ones around two texts


Task = Literal["auto", "binary", "multiclass", "multilabel", "regression"]


def _different(names: list[str]) -> list[str]:
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"must list different columns; got {repeated[0]} twice.\nLeave one out")
    return names


Label = Annotated[
    Annotated[Name, ONE] | Annotated[list[Name], Field(min_length=2), pydantic.AfterValidator(_different), SEVERAL],
    one_or_several,
]


def _is_balanced(value: object) -> object:
    if value != "balanced":
        raise ValueError(f"must be balanced, or weights by label such as {{rare: 5}}; got {value}")
    return value


ClassWeights = Annotated[
    Annotated[Literal["balanced"], pydantic.BeforeValidator(_is_balanced), pydantic.Tag("src.balanced")]
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
    revision: str | None = None
    text: TextColumns
    join: bool = False
    label: Label | None
    label_delimiter: Annotated[str, Field(min_length=1)] | None
    label_names: Annotated[list[Name], Field(min_length=2)] | None = None
    task: Task
    header: bool = True
    quoting: Quoting = "auto"
    delimiter: Delimiter | None = None
    encoding: Encoding | None = None
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
    truncation: Truncation = "head"
    windows: bool = False
    stride: Natural | None = None
    max_windows: Positive | None = 64
    pack: bool
    batch_size: Positive
    eval_batch_size: Positive
    buckets: bool
    workers: Natural

    @property
    def title(self) -> str:
        """What it is called in tables: the name of a hub data set, or of a file or folder."""
        return self.name or PurePath(self.path or "").name

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        if not self.path and not self.name:
            raise ValueError("needs a path (a file or folder) or a name (a hub data set)")
        if self.folds is None and self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction must leave rows to train on; "
                f"they add up to {self.validation_fraction + self.test_fraction:g}"
            )
        if isinstance(self.label, list) and self.task not in ("auto", "multilabel", "regression"):
            raise ValueError(
                f"with several label columns must have task=multilabel, regression or auto; got task={self.task}"
            )
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
        classes = ("label_names", "label_delimiter", "class_weights", "sampling")
        if self.task == "regression" and (given := [key for key in classes if getattr(self, key) is not None]):
            named = joined([given[0], *(f"data.{key}" for key in given[1:])])
            are, them = ("are", "them") if given[1:] else ("is", "it")
            raise ValueError(f"{named} {are} for classes; task=regression predicts numbers.\nLeave {them} out")
        names = self.label_names or []
        if len({" ".join(name.split()) for name in names} - {""}) < len(names):
            raise ValueError(f"label_names must be distinct and not blank; got {names}")
        return self

    @model_validator(mode="after")
    def has_its_texts(self) -> Self:
        if self.join and isinstance(self.text, str):
            raise ValueError(
                f"join=true joins several columns, but data.text={self.text} is one.\n"
                "List them, data.text=[title,body], or leave out data.join"
            )
        if isinstance(self.text, list) and len(self.text) > 2 and not self.join:
            raise ValueError(
                f"text must name one column, or two whose texts are a pair; got {', '.join(self.text)}.\n"
                "To join them into one text, with the name of each column before its value: data.join=true"
            )
        if self.pairs and self.pack:
            raise ValueError(
                "pack=true needs single texts; data.text names two columns, a pair.\nChoose data.pack=false"
            )
        if self.pairs and self.max_length < SHORTEST_PAIR:
            raise ValueError(
                f"max_length must be at least {SHORTEST_PAIR} for pairs: a token of each text, and the special tokens; "
                f"got {self.max_length}"
            )
        if self.pairs and self.truncation != "head":
            raise ValueError(
                f"truncation={self.truncation} needs single texts; data.text names two columns, a pair, whose longer "
                "text loses its last tokens first.\nChoose data.truncation=head, or join the columns: data.join=true"
            )
        return self

    @model_validator(mode="after")
    def has_its_windows(self) -> Self:
        if not self.windows:
            if self.stride is not None:
                raise ValueError(
                    f"stride={self.stride} is how many tokens two windows share; data.windows is false.\n"
                    "Choose data.windows=true, or leave out data.stride"
                )
            return self
        if self.stride is not None and self.stride >= self.max_length:
            raise ValueError(
                f"stride={self.stride} is how many of the tokens of a window are in the next one too; it must be less "
                f"than data.max_length={self.max_length}.\nLower it, or leave it out"
            )
        if self.pairs:
            raise ValueError(
                "windows=true needs single texts; data.text names two columns, a pair.\n"
                "Choose data.windows=false, or join the columns: data.join=true"
            )
        if self.truncation != "head":
            raise ValueError(
                f"windows=true reads whole texts; truncation={self.truncation} would leave out some of each.\n"
                "Choose one of them"
            )
        return self

    @property
    def reading(self) -> Reading:
        """Which tokens of a text the encoder reads."""
        if not self.windows:
            return Reading(self.max_length, self.truncation)
        stride = self.max_length // 4 if self.stride is None else self.stride
        return Reading(self.max_length, stride=stride, max_windows=self.max_windows)

    @property
    def text_columns(self) -> list[str]:
        """The columns with the texts."""
        return self.text if isinstance(self.text, list) else [self.text]

    @property
    def pairs(self) -> bool:
        """Whether each input is a pair of texts."""
        return isinstance(self.text, list) and not self.join

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
