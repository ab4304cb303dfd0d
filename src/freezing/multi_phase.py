"""Strategies of several phases: gradual unfreezing, a linear probe before fine-tuning, and a user-defined chain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass

from src.config.sections import LearningRate, Positive
from src.errors import UserError, nearest
from src.freezing.strategy import HEAD, STRICT, End, Phase, Stage, Strategy
from src.freezing.whole_stages import sample_names

Until = Literal["epochs", "plateau"]


Improvement = Annotated[float, Field(ge=0, allow_inf_nan=False)]


FIT = "fit"  # the pace, in its name, of a strategy whose phases are fitted into the training


PROBE = 3  # a linear probe without a length takes one of so many parts of the training


def _end(until: Until, epochs: int, patience: int, min_delta: float) -> End:
    return End(epochs=epochs) if until == "epochs" else End(None, patience, min_delta)


@dataclass(frozen=True, config=STRICT)
class Gradual(Strategy):
    """Gradual unfreezing: the head first, then stages from the output to the input (ULMFiT, Howard & Ruder 2018).

    Args:
        every: epochs per phase; None: the phases are fitted into the epochs of the training.
        until: `epochs`, or `plateau` for phases that end when the monitored metric does not improve.
        patience: plateau only: validations without improvement.
        min_delta: plateau only: the smallest change of the metric that is an improvement.
        stages_per_phase: how many stages each phase unfreezes.
        down_to: the last stage to unfreeze.
        restore_best: start each phase from the best weights so far.
    """

    every: Positive | None
    until: Until
    patience: Positive
    min_delta: Improvement
    stages_per_phase: Positive
    down_to: str
    restore_best: bool

    @property
    def kind(self) -> str:
        pace = str(self.every or FIT) if self.until == "epochs" else "plateau"
        return f"gradual:{pace}" + (f"x{self.stages_per_phase}" if self.stages_per_phase > 1 else "")

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        names = [stage.name for stage in stages if stage.name != HEAD]
        if self.down_to not in names:
            raise UserError(
                f"freeze.down_to must be a stage of the backbone; got {self.down_to}.\n{nearest(self.down_to, names)}"
            )
        unfrozen = names[names.index(self.down_to) :][::-1]
        counts = [*range(0, len(unfrozen), self.stages_per_phase), len(unfrozen)]
        end = _end(self.until, self.every or 1, self.patience, self.min_delta)
        if self.until == "epochs" and self.every is None:
            end = End(parts=len(counts))
        return [
            Phase(_parameters(stages, {HEAD, *unfrozen[:count]}), end, restore_best=self.restore_best and count > 0)
            for count in counts
        ]


@dataclass(frozen=True, config=STRICT)
class LpFt(Strategy):
    """A linear probe, then full fine-tuning starting from it (LP-FT, Kumar et al. 2022).

    Args:
        epochs: of the probe; None: a third of those of the training.
        lr: peak learning rate of the backbone during fine-tuning; None: `optimizer.lr`.
        head_lr: peak learning rate of the head during fine-tuning; None: `optimizer.head_lr`.
        restore_best: fine-tune from the best probe instead of the latest.
    """

    epochs: Positive | None
    lr: LearningRate | None
    head_lr: LearningRate | None
    restore_best: bool

    @property
    def kind(self) -> str:
        return f"lp_ft:{self.epochs or FIT}"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        everything = {stage.name for stage in stages}
        return [
            Phase(_parameters(stages, {HEAD}), End(self.epochs, parts=None if self.epochs else PROBE)),
            Phase(_parameters(stages, everything), End(), self.lr, self.head_lr, self.restore_best),
        ]


@dataclass(frozen=True, config=STRICT)
class Link:
    """One phase of a chain.

    Args:
        train: what trains: stages (`head`, `layer.3`), ranges of layers (`layer.2-5`), `all`, or regular expressions
            that are searched in parameter names.
        epochs: length of the phase; not allowed if it ends on a plateau, optional for the last phase.
        until: `epochs` or `plateau`.
        patience: plateau only: validations without improvement.
        min_delta: plateau only: the smallest change of the metric that is an improvement.
        lr: peak learning rate of the backbone; None: `optimizer.lr`.
        head_lr: peak learning rate of the head; None: `optimizer.head_lr`.
        restore_best: start from the best weights so far.
    """

    train: Annotated[list[str], Field(min_length=1)]
    epochs: Positive | None = None
    until: Until = "epochs"
    patience: Positive = 1
    min_delta: Improvement = 0.0
    lr: LearningRate | None = None
    head_lr: LearningRate | None = None
    restore_best: bool = False

    @pydantic.model_validator(mode="after")
    def check_end(self) -> Self:
        if self.until == "plateau" and self.epochs:
            raise ValueError("must end after its epochs or on a plateau, not both")
        return self


@dataclass(frozen=True, config=STRICT)
class Chain(Strategy):
    """User-defined phases, one after the other."""

    by_name = True
    links: Annotated[list[Link], Field(min_length=1)]

    @property
    def kind(self) -> str:
        return "chain:" + ">".join("+".join(link.train) for link in self.links)

    @pydantic.model_validator(mode="after")
    def check_epochs(self) -> Self:
        for number, link in enumerate(self.links[:-1]):
            if link.until == "epochs" and not link.epochs:
                raise ValueError(f"must give the epochs of each phase but the last; phase {number + 1} has no epochs")
        return self

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return [
            Phase(
                _chosen(link.train, stages, f"freeze.links.{number}.train"),
                _end(link.until, link.epochs or 1, link.patience, link.min_delta),
                link.lr,
                link.head_lr,
                link.restore_best,
            )
            for number, link in enumerate(self.links)
        ]


def _parameters(stages: Sequence[Stage], chosen: set[str]) -> frozenset[str]:
    return frozenset(n for stage in stages if stage.name in chosen for n in stage.parameters)


def _chosen(train: Sequence[str], stages: Sequence[Stage], key: str) -> frozenset[str]:
    """Returns the names of the parameters that the entries of one phase select.

    Raises:
        UserError: an entry selects nothing, or a stage is named twice.
    """
    names = [stage.name for stage in stages]
    named: list[str] = []
    parameters: set[str] = set()
    for entry in train:
        if entry == "all":
            named += names
        elif entry in names:
            named.append(entry)
        elif match := re.fullmatch(r"layer\.(\d+)-(\d+)", entry):
            wanted = [f"layer.{i}" for i in range(int(match[1]), int(match[2]) + 1)]
            if not wanted or not {*wanted} <= {*names}:
                raise UserError(
                    f"{key} must name layers of this backbone; got {entry}.\nIts stages: {', '.join(names)}."
                )
            named += wanted
        else:
            parameters |= _matching(entry, stages, key)
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise UserError(f"{key} must name each stage once; {', '.join(twice)} occurs more than once.")
    return _parameters(stages, set(named)) | parameters


def _matching(pattern: str, stages: Sequence[Stage], key: str) -> set[str]:
    try:
        found = {n for stage in stages for n in stage.parameters if re.search(pattern, n)}
    except re.error as error:
        raise UserError(
            f"{key} contains {pattern}, which is neither a stage nor a regular expression: {error}."
        ) from None
    if not found:
        raise UserError(
            f"{key} must name stages or match parameters; {pattern} is neither.\n"
            f"Stages: {', '.join(stage.name for stage in stages)}. Examples of parameter names: "
            f"{', '.join(sample_names(stages))}."
        )
    return found
