"""What the sections of the schema are made of."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import Field

Fraction = Annotated[float, Field(gt=0, lt=1)]


Probability = Annotated[float, Field(ge=0, lt=1)]


Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


Share = Annotated[float, Field(ge=0, le=1)]


Positive = Annotated[int, Field(ge=1)]


Natural = Annotated[int, Field(ge=0)]


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(pydantic.BaseModel):
    """A part of a config. Unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())


class Component(Section):
    """A config node that names what is built from it (`_target_`) and the arguments, of which only some are checked."""

    model_config = pydantic.ConfigDict(extra="allow", populate_by_name=True)

    target: str = Field(alias="_target_", min_length=1)
