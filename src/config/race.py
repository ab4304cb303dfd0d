"""The section of a race of strategies."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src.config.monitor import LESS_IS_BETTER
from src.config.sections import Section

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _is_higher_better(metric: str) -> str:
    if metric in LESS_IS_BETTER:
        raise ValueError(f"must be a score that is better when higher; got {metric}")
    return metric


def _is_time(budget: str) -> str:
    if not re.fullmatch(rf"\d+(\.\d+)?({'|'.join(UNITS)})", budget):
        raise ValueError(f"must be a time such as 90s, 30min or 2h; got {budget}")
    return budget


class Race(Section):
    metric: Annotated[str, AfterValidator(_is_higher_better)]
    margin: Annotated[float, Field(ge=0, lt=1)]
    goal: Literal["cheapest", "best"]
    cost: Literal["time", "memory", "parameters", "inference"]
    budget: Annotated[str, AfterValidator(_is_time)] | None

    @property
    def seconds(self) -> float | None:
        """The budget in seconds."""
        if self.budget is None:
            return None
        number, unit = re.split(r"(?<=\d)(?=[a-z])", self.budget)
        return float(number) * UNITS[unit]
