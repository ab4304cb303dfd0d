"""Freezing strategies. Pure: they know stages and parameter names, not models.

A strategy turns the ordered stages of a network into phases; a phase lists exactly the parameters that train.
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
            raise ValueError(f"contains {pattern}, which is not a regular expression: {error}") from None
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
    min_delta: float = 0.0  # the smallest change of the metric that is an improvement
    parts: int | None = None  # instead of `epochs`: it lasts for one of so many parts of the training


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training in which one set of parameters trains.

    Args:
        trainable: the names of these parameters.
        end: what ends the phase; the last phase ends with the training.
        lr: peak learning rate of the backbone in this phase; None: `optimizer.lr`.
        head_lr: peak learning rate of the head in this phase; None: `optimizer.head_lr`.
        restore_best: start from the best weights so far instead of the latest.
    """

    trainable: frozenset[str]
    end: End = End()
    lr: float | None = None
    head_lr: float | None = None
    restore_best: bool = False


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Strategy(ABC):
    """How a network is trained: what each phase trains, and how the network is changed beforehand.

    Args:
        reinit_top: how many of the top layers are re-initialised with random weights.
    """

    # Whether it selects by parameter names, which not every weight file lists before it is loaded.
    by_name: ClassVar[bool] = False

    reinit_top: Annotated[int, Field(ge=0)] = 0

    @property
    @abstractmethod
    def kind(self) -> str:
        """A short name of what it freezes, such as `bottom:4`."""

    @property
    def name(self) -> str:
        """Its name in tables, logs and folders: its kind, and `reinit_top` if that is not 0."""
        return f"{self.kind}+reinit:{self.reinit_top}" if self.reinit_top else self.kind

    def kept(self, stages: Sequence[Stage]) -> list[Stage]:
        """Returns the stages that are left of a network before its training: all of them, unless layers are dropped.

        Args:
            stages: of the network as it was loaded, from the input on.

        Raises:
            UserError: the strategy does not fit these stages.
        """
        return list(stages)

    @abstractmethod
    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        """Returns the phases of a training.

        Args:
            stages: of the network, from the input to the head.

        Raises:
            UserError: the strategy does not fit these stages.
        """


def trained_in(phases: Iterable[Phase]) -> frozenset[str]:
    """Returns the names of the parameters that train in any of the phases."""
    return frozenset[str]().union(*(phase.trainable for phase in phases))


def depth(stages: Sequence[Stage], phases: Sequence[Phase]) -> int:
    """Returns how many leading stages train in none of these phases: the length of the frozen prefix."""
    trained = trained_in(phases)
    for count, stage in enumerate(stages):
        if trained & set(stage.parameters):
            return count
    return len(stages)


def percent(fraction: float) -> str:
    """Formats a fraction as a percentage; small ones with two significant digits, so that they are not 0.0%."""
    return f"{fraction:.1%}" if fraction >= 0.1 or not fraction else f"{100 * fraction:.2g}%"


def single_phase(stages: Sequence[Stage], trains: Sequence[bool]) -> list[Phase]:
    """Returns one phase in which these stages train as a whole.

    Args:
        stages: of the network.
        trains: whether each of them trains.
    """
    names = [n for stage, train in zip(stages, trains, strict=True) if train for n in stage.parameters]
    return [Phase(frozenset(names))]


def check_reinit(reinit_top: int, stages: Sequence[Stage], phases: Sequence[Phase]) -> None:
    """
    Raises:
        UserError: the backbone has fewer layers, or a re-initialised layer would never train.
    """
    layers = [stage for stage in stages if stage.is_layer]
    if reinit_top > len(layers):
        raise UserError(f"freeze.reinit_top must lie in 0..{len(layers)} for this backbone; got {reinit_top}.")
    trained = trained_in(phases)
    for stage in layers[len(layers) - reinit_top :]:
        if not trained & set(stage.parameters):
            raise UserError(
                f"freeze.reinit_top={reinit_top} must re-initialise only layers that train; {stage.name} never trains "
                "and would stay random.\nLower it, or freeze less."
            )
