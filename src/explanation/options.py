"""The options of conf/explain.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from src.config.given_texts import GivenTexts
from src.config.sections import Positive

FOLDER = re.compile(r"(?!\.)[^/\x00]{1,200}")


def _folder_name(value: Any) -> str:
    if not isinstance(value, str) or not FOLDER.fullmatch(value):
        raise ValueError(
            f"must be a folder name of up to 200 characters without slashes; got {value}.\nFor example: name=first"
        )
    return value


def _indices(value: Any) -> list[int] | None:
    """Returns the chosen layers or heads, in order; None for all of them."""
    if value == "all":
        return None
    indices = value if isinstance(value, list) else [value]
    if not indices or not all(type(index) is int for index in indices):
        raise ValueError(f"must be all, or numbers such as [0,3,5], counted from 0; got {value}")
    return sorted({*indices})


def _filled(example: str) -> BeforeValidator:
    """Refuses what is not a list, or an empty one."""

    def check(value: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise ValueError(f"must be a list of at least one name; got {value}.\nFor example: {example}")
        return value

    return BeforeValidator(check)


Method = Literal["integrated_gradients", "gradient_input", "occlusion", "attention"]


class Options(GivenTexts):
    """The options of conf/explain.yaml; `layers` and `heads` are None for all of them."""

    against: Annotated[str, Field(min_length=1)] | None
    limit: Positive
    methods: Annotated[list[Method], _filled("methods=[occlusion,attention]")]
    # Hydra parses a name that looks like a number or a truth value as one; which label that is, the run knows.
    labels: Annotated[list[Any], _filled("labels=[positive]")] | None
    layers: Annotated[list[int] | None, PlainValidator(_indices)]
    heads: Annotated[list[int] | None, PlainValidator(_indices)]
    name: Annotated[str, PlainValidator(_folder_name)] | None
