"""The section of a race of strategies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from src.config.monitor import IN_UNITS, NOT_COMPARED
from src.config.sections import Cost, LearningRate, Section
from src.config.values import flat

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _is_compared(metric: str | None) -> str | None:
    if metric in NOT_COMPARED:
        raise ValueError(f"must be a score, which all runs measure alike, and no loss; got {metric}")
    return metric


Margin = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def check_margin(margin: float | None, metric: str | None) -> None:
    """
    Raises:
        ValueError: no two scores differ by so much.
    """
    if margin is not None and margin >= 1 and metric not in IN_UNITS:
        raise ValueError(
            f"margin must be less than 1, unless metric is {' or '.join(sorted(IN_UNITS))}; got {margin:g}"
        )


def _is_time(budget: object) -> object:
    if not re.fullmatch(rf"\d+(\.\d+)?({'|'.join(UNITS)})", str(budget)):
        raise ValueError(f"must be a time such as 90s, 30min or 2h; got {budget}")
    return budget


Rates = dict[Literal["lr", "head_lr"], Annotated[list[LearningRate], Field(min_length=1)]]


class Race(Section):
    metric: Annotated[str | None, AfterValidator(_is_compared)]
    margin: Margin | None
    goal: Literal["cheapest", "best"]
    cost: Cost
    budget: Annotated[str, BeforeValidator(_is_time)] | None
    rates: dict[str, Rates] | None = None  # by strategy, as the next; runs of earlier versions have neither
    training: dict[str, dict[str, Any]] = Field(default_factory=dict)
    trial: bool = False

    @model_validator(mode="after")
    def has_its_margin(self) -> Self:
        check_margin(self.margin, self.metric)
        return self

    def deciding(self, task: str) -> str:
        """Returns the score that decides.

        Args:
            task: `data.task`.
        """
        return self.metric or ("pearson" if task == "regression" else "accuracy")

    @property
    def seconds(self) -> float | None:
        """The budget in seconds."""
        if self.budget is None:
            return None
        number, unit = re.split(r"(?<=\d)(?=[a-z])", self.budget)
        return float(number) * UNITS[unit]

    def rates_of(self, strategy: str) -> Iterator[tuple[str, list[float]]]:
        """Yields the learning rates to try for a strategy, by their key.

        Args:
            strategy: its file in conf/freeze/.
        """
        for key, rates in _own(self.rates or {}, strategy).items():
            yield f"optimizer.{key}", rates

    def training_of(self, strategy: str) -> Iterator[tuple[str, str]]:
        """Yields what else suits a strategy: keys with values as they are written in an override."""
        for key, value in flat(_own(self.training, strategy)):
            yield key, json.dumps(value)


def _own(table: dict[str, Any], strategy: str) -> Any:
    return table.get(strategy, table.get("default", {}))
