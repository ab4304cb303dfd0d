"""The options of a comparison."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from src.config.race import Margin, check_margin
from src.config.sections import Cost, Section


class Options(Section):
    """The options of conf/compare.yaml, and of `thaw.compare`."""

    runs: Annotated[str, Field(min_length=1)]
    metric: str | None
    baseline: str | None
    by: str | None
    margin: Margin | None
    cost: Cost | None
    mixed: bool

    @model_validator(mode="after")
    def has_its_margin(self) -> Self:
        check_margin(self.margin, self.metric)
        return self
