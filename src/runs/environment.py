"""Which values from the environment are numbers or truth values, and so no secrets, which would be text."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pydantic

from src.config.folder import CONF
from src.config.schema import RunConfig

Number = bool | int | float
NUMERIC = re.compile(r"^ *(\w+): (?:[-+.e\d]+|true|false)(?:\s|$)", re.MULTILINE)  # a line of YAML with such a value


def as_number(key: str, text: str) -> Number | None:
    """Returns the number or truth value that a text is as the value of a key; None where it is none, or where the key
    may have any text.

    The schema says what a key may have. Of those that it leaves open, such as those of a strategy, conf/ does, by the
    values that it has for a key of this name in the same section.

    Args:
        key: of a config, with its sections.
        text: of the environment.
    """
    section, *inner = key.removeprefix("pretrain.").split(".")
    kinds = [kind for kind in _kinds(RunConfig, [section, *inner]) if kind is not Any]
    if not kinds and inner and inner[-1] in _numeric(CONF / section):
        kinds = [int | float | bool]
    found = [_read(kind, text) for kind in kinds]
    return found[0] if found and None not in found else None


def _kinds(kind: Any, keys: Sequence[str]) -> Iterator[Any]:
    """Yields what the schema says of a key, once for each kind of section that has it."""
    if not keys:
        yield kind
    elif isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        if field := kind.model_fields.get(keys[0]):
            yield from _kinds(field.annotation, keys[1:])
    else:
        for member in get_args(kind):
            yield from _kinds(member, keys)


def _read(kind: Any, text: str) -> Number | None:
    try:
        found = pydantic.TypeAdapter(kind).validate_python(text)
    except pydantic.ValidationError:
        return None
    return found if isinstance(found, Number) else None


@functools.cache
def _numeric(group: Path) -> frozenset[str]:
    """Returns the keys that have a number or a truth value in a file of a group."""
    texts = (file.read_text(encoding="utf-8") for file in group.rglob("*.yaml"))
    return frozenset(key for text in texts for key in NUMERIC.findall(text))
