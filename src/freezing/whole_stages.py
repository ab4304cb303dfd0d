"""Strategies that freeze the same whole stages throughout the training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from src.errors import UserError
from src.freezing.strategy import EMBEDDINGS, HEAD, STRICT, Patterns, Phase, Stage, Strategy, single_phase


def _layers(stages: Sequence[Stage]) -> int:
    return sum(stage.is_layer for stage in stages)


@dataclass(frozen=True, config=STRICT)
class Nothing(Strategy):
    """Nothing frozen."""

    kind = "none"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return single_phase(stages, [True for _ in stages])


@dataclass(frozen=True, config=STRICT)
class Everything(Strategy):
    """The whole backbone frozen; the head trains."""

    kind = "all"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return single_phase(stages, [stage.name == HEAD for stage in stages])


@dataclass(frozen=True, config=STRICT)
class Embeddings(Strategy):
    """Only the embeddings frozen."""

    kind = "embeddings"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return single_phase(stages, [stage.name != EMBEDDINGS for stage in stages])


@dataclass(frozen=True, config=STRICT)
class Bottom(Strategy):
    """The embeddings and the first `layers` layers frozen."""

    layers: Annotated[int, Field(ge=0)]

    @property
    def kind(self) -> str:
        return f"bottom:{self.layers}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        _check_layers(self.layers, stages)
        return single_phase(stages, [index > self.layers for index in range(len(stages))])


@dataclass(frozen=True, config=STRICT)
class Top(Strategy):
    """Everything frozen but the last `layers` layers and what follows them."""

    layers: Annotated[int, Field(ge=0)]

    @property
    def kind(self) -> str:
        return f"top:{self.layers}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        _check_layers(self.layers, stages)
        if self.layers == 0:
            return Everything().phases(stages)
        return Bottom(_layers(stages) - self.layers).phases(stages)


@dataclass(frozen=True, config=STRICT)
class Pattern(Strategy):
    """Backbone parameters whose name matches a regular expression frozen."""

    by_name = True
    frozen: Patterns

    @property
    def kind(self) -> str:
        return f"pattern:{'|'.join(self.frozen)}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        backbone = [n for stage in stages if stage.name != HEAD for n in stage.parameters]
        for pattern in self.frozen:
            if not any(re.search(pattern, name) for name in backbone):
                raise UserError(
                    f"freeze.frozen must match parameters of the backbone; {pattern} matches none of its "
                    f"{len(backbone)}.\nExamples of their names: {', '.join(sample_names(stages))}."
                )
        frozen = {n for n in backbone if any(re.search(pattern, n) for pattern in self.frozen)}
        return [Phase(frozenset(n for stage in stages for n in stage.parameters) - frozen)]


@dataclass(frozen=True, config=STRICT)
class Surgical(Strategy):
    """Only the layers `first` to `last` and the head train (Lee et al. 2023)."""

    first: Annotated[int, Field(ge=0)]
    last: Annotated[int, Field(ge=0)]

    @property
    def kind(self) -> str:
        return f"surgical:{self.first}-{self.last}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        count = _layers(stages)
        if not self.first <= self.last < count:
            raise UserError(
                f"freeze.first and freeze.last must lie in 0..{count - 1} for this backbone ({count} layers), "
                f"with first <= last; got {self.first} and {self.last}.\n"
                "For a single layer, give both the same number."
            )
        block = {f"layer.{i}" for i in range(self.first, self.last + 1)} | {HEAD}
        return single_phase(stages, [stage.name in block for stage in stages])


@dataclass(frozen=True, config=STRICT)
class Cut(Strategy):
    """The backbone without the layers after its first `layers`; of what is left, only the last `train` layers and what
    follows them train."""

    layers: Annotated[int, Field(ge=1)]
    train: Annotated[int, Field(ge=0)] = 0

    @property
    def kind(self) -> str:
        return f"cut:{self.layers}+{self.train}" if self.train else f"cut:{self.layers}"

    def kept(self, stages: Sequence[Stage]) -> list[Stage]:
        count = _layers(stages)
        if self.layers > count:
            raise UserError(
                f"freeze.layers must lie in 1..{count} for this backbone ({count} layers); got {self.layers}.\n"
                f"freeze.layers={count} keeps the whole backbone, as freeze=all does."
            )
        if self.train > self.layers:
            raise UserError(
                f"freeze.train must lie in 0..{self.layers}, since freeze.layers={self.layers} layers are kept; got "
                f"{self.train}.\nLower it, or keep more layers."
            )
        dropped = {f"layer.{i}" for i in range(self.layers, count)}
        return [stage for stage in stages if stage.name not in dropped]

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return Top(self.train).phases(self.kept(stages))


def _check_layers(layers: int, stages: Sequence[Stage]) -> None:
    count = _layers(stages)
    if layers > count:
        raise UserError(
            f"freeze.layers must lie in 0..{count} for this backbone ({count} layers); got {layers}.\n"
            "Choose freeze=all to freeze the whole backbone, freeze=none to freeze nothing."
        )


def sample_names(stages: Sequence[Stage]) -> list[str]:
    """Returns one parameter name of each of the first stages, as examples for messages."""
    return [stage.parameters[0] for stage in stages if stage.name != HEAD and stage.parameters][:3]
