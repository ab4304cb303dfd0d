"""Freezing strategies. Pure: they know stages and parameter names, not models.

A strategy turns the ordered stages of a network into phases; a phase says exactly which parameters train.
"""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

import pydantic
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from src.errors import UserError

HEAD = "head"


POOLER = "pooler"


EMBEDDINGS = "embeddings"


STRICT = pydantic.ConfigDict(extra="forbid")


def _check_patterns(patterns: list[str]) -> list[str]:
    """
    Raises:
        ValueError: one is not a regular expression.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"holds {pattern}, which is not a regular expression: {error}") from None
    return patterns


# Regular expressions, at least one.
Patterns = Annotated[list[str], Field(min_length=1), AfterValidator(_check_patterns)]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One ordered piece of the network and the names of its parameters."""

    name: str
    parameters: tuple[str, ...]

    @property
    def is_layer(self) -> bool:
        return self.name.startswith("layer.")


@dataclasses.dataclass(frozen=True)
class End:
    """What ends a phase that is not the last: a number of epochs, or a plateau of the monitored metric."""

    epochs: int | None = None
    patience: int = 1  # validations without improvement that make a plateau
    min_delta: float = 0.0  # what counts as an improvement


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training in which one set of parameters trains.

    Args:
        trainable: the names of these parameters.
        end: what ends the phase; the last phase ends with the training.
        lr: the peak rate of the backbone in this phase; None: the optimizer's.
        head_lr: of the head.
        restore_best: begin with the best weights so far instead of the latest.
    """

    trainable: frozenset[str]
    end: End = End()
    lr: float | None = None
    head_lr: float | None = None
    restore_best: bool = False


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Strategy(ABC):
    """How a network is trained: what each phase trains, and what is changed in the network beforehand.

    Args:
        reinit_top: so many layers, counted from the output, start from new random weights.
    """

    # Whether it looks at parameter names, which not every weight file tells before it is loaded.
    by_name: ClassVar[bool] = False

    reinit_top: Annotated[int, Field(ge=0)] = 0

    @property
    @abstractmethod
    def kind(self) -> str:
        """What it freezes, such as `bottom:4`."""

    @property
    def name(self) -> str:
        """How tables, logs and folders name it: its kind, and what else is changed."""
        return f"{self.kind}+reinit:{self.reinit_top}" if self.reinit_top else self.kind

    @abstractmethod
    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        """The phases of a training over these stages, from the input to the head.

        Raises:
            UserError: the strategy does not fit these stages.
        """


def trained_in(phases: Iterable[Phase]) -> frozenset[str]:
    """The names of the parameters that train in any of the phases."""
    return frozenset[str]().union(*(phase.trainable for phase in phases))


def depth(stages: Sequence[Stage], phases: Sequence[Phase]) -> int:
    """How many leading stages train in none of these phases: the frozen prefix."""
    trained = trained_in(phases)
    for count, stage in enumerate(stages):
        if trained & set(stage.parameters):
            return count
    return len(stages)


def percent(share: float) -> str:
    """How much of a network trains, in words: a thousand of many million parameters are few, but not 0.0%."""
    return f"{share:.1%}" if share >= 0.1 or not share else f"{100 * share:.2g}%"


def training(stages: Sequence[Stage], trains: Sequence[bool]) -> list[Phase]:
    """One phase in which whole stages train."""
    names = [n for stage, train in zip(stages, trains, strict=True) if train for n in stage.parameters]
    return [Phase(frozenset(names))]


def check_reinit(reinit_top: int, stages: Sequence[Stage], phases: Sequence[Phase]) -> None:
    """
    Raises:
        UserError: there are not so many layers, or one of them would stay as random as it starts.
    """
    layers = [stage for stage in stages if stage.is_layer]
    if reinit_top > len(layers):
        raise UserError(f"freeze.reinit_top must lie in 0..{len(layers)} for this backbone; got {reinit_top}.")
    trained = trained_in(phases)
    for stage in layers[len(layers) - reinit_top :]:
        if not trained & set(stage.parameters):
            raise UserError(
                f"freeze.reinit_top={reinit_top} must reach trained layers only; {stage.name} never trains and would "
                "stay random.\nLower it, or freeze less."
            )
