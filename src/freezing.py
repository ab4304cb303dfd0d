"""Freezing strategies. Pure: they know stages and parameter names, not models.

A strategy turns the ordered stages of a network into phases; a phase says exactly which parameters train.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Protocol

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass

from src.config import UserError

HEAD = "head"
POOLER = "pooler"
EMBEDDINGS = "embeddings"

STRICT = pydantic.ConfigDict(extra="forbid")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One ordered piece of the network and the names of its parameters."""

    name: str
    parameters: tuple[str, ...]

    @property
    def is_layer(self) -> bool:
        return self.name.startswith("layer.")


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training in which one set of parameters trains."""

    trainable: frozenset[str]


class Strategy(Protocol):
    @property
    def name(self) -> str:
        """How tables, logs and folders name it, such as `bottom:4`."""
        ...

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        """The phases of a training over these stages, from the input to the head.

        Raises:
            UserError: the strategy does not fit these stages.
        """
        ...


def depth(stages: Sequence[Stage], phases: Sequence[Phase]) -> int:
    """How many leading stages train in none of these phases: the frozen prefix."""
    trained = frozenset[str]().union(*(phase.trainable for phase in phases))
    for count, stage in enumerate(stages):
        if trained & set(stage.parameters):
            return count
    return len(stages)


def _training(stages: Sequence[Stage], trains: Sequence[bool]) -> list[Phase]:
    names = [n for stage, train in zip(stages, trains, strict=True) if train for n in stage.parameters]
    return [Phase(frozenset(names))]


def _layers(stages: Sequence[Stage]) -> int:
    return sum(stage.is_layer for stage in stages)


@dataclass(frozen=True, config=STRICT)
class Nothing:
    """Nothing frozen."""

    name = "none"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return _training(stages, [True for _ in stages])


@dataclass(frozen=True, config=STRICT)
class Everything:
    """The whole backbone frozen; the head trains."""

    name = "all"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return _training(stages, [stage.name == HEAD for stage in stages])


@dataclass(frozen=True, config=STRICT)
class Embeddings:
    """Only the embeddings frozen."""

    name = "embeddings"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return _training(stages, [stage.name != EMBEDDINGS for stage in stages])


@dataclass(frozen=True, config=STRICT)
class Bottom:
    """The embeddings and the first `layers` layers frozen."""

    layers: Annotated[int, Field(ge=0)]

    @property
    def name(self) -> str:
        return f"bottom:{self.layers}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        _check_layers(self.layers, stages)
        return _training(stages, [index > self.layers for index in range(len(stages))])


@dataclass(frozen=True, config=STRICT)
class Top:
    """Everything frozen but the last `layers` layers and what follows them."""

    layers: Annotated[int, Field(ge=0)]

    @property
    def name(self) -> str:
        return f"top:{self.layers}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        _check_layers(self.layers, stages)
        if self.layers == 0:
            return Everything().phases(stages)
        return Bottom(_layers(stages) - self.layers).phases(stages)


@dataclass(frozen=True, config=STRICT)
class Pattern:
    """Backbone parameters whose name matches a regular expression frozen."""

    frozen: Annotated[list[str], Field(min_length=1)]

    @property
    def name(self) -> str:
        return f"pattern:{'|'.join(self.frozen)}"

    @pydantic.field_validator("frozen")
    @classmethod
    def compiles(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"holds {pattern}, which is not a regular expression: {error}") from None
        return patterns

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        backbone = [n for stage in stages if stage.name != HEAD for n in stage.parameters]
        for pattern in self.frozen:
            if not any(re.search(pattern, name) for name in backbone):
                raise UserError(
                    f"freeze.frozen must match parameters of the backbone; {pattern} matches none of "
                    f"{len(backbone)}.\nTheir names look like this: {', '.join(_samples(stages))}."
                )
        frozen = {n for n in backbone if any(re.search(pattern, n) for pattern in self.frozen)}
        return [Phase(frozenset(n for stage in stages for n in stage.parameters) - frozen)]


def _check_layers(layers: int, stages: Sequence[Stage]) -> None:
    count = _layers(stages)
    if layers > count:
        raise UserError(
            f"freeze.layers must lie in 0..{count} for this backbone ({count} layers); got {layers}.\n"
            "Choose freeze=all to freeze the whole backbone, freeze=none to freeze nothing."
        )


def _samples(stages: Sequence[Stage]) -> list[str]:
    return [stage.parameters[0] for stage in stages if stage.name != HEAD and stage.parameters][:3]
