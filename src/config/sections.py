"""Number types and base classes of the config schema."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

Fraction = Annotated[float, Field(gt=0, lt=1)]


Probability = Annotated[float, Field(ge=0, lt=1)]


LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


UnitInterval = Annotated[float, Field(ge=0, le=1)]


Positive = Annotated[int, Field(ge=1)]


Natural = Annotated[int, Field(ge=0)]


Seed = Annotated[int, Field(ge=0, lt=2**32)]


# What makes a strategy cheap.
Cost = Literal["time", "memory", "parameters", "inference"]


class Section(pydantic.BaseModel):
    """A part of a config. Unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())


class Component(Section):
    """A section with a `_target_` to build and its arguments, of which only some are checked here."""

    model_config = pydantic.ConfigDict(extra="allow", populate_by_name=True)

    target: str = Field(alias="_target_", min_length=1)
