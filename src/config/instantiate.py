"""Building what a section of a config names, with the section's key in what is said of a mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import hydra
import pydantic
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from src.config.validation import value_problem
from src.errors import UserError


def instantiate(node: DictConfig, key: str, **arguments: Any) -> Any:
    """What a section of a config names, built with the section's values.

    Args:
        node: the section.
        key: of the section.
        arguments: what the config does not say.

    Raises:
        UserError: there is no such thing, or it refuses a value.
    """
    with told(key):
        return hydra.utils.instantiate(node, **arguments)


@contextlib.contextmanager
def told(key: str) -> Iterator[None]:
    """
    Args:
        key: of the section of the config from which something is built within.

    Raises:
        UserError: that failed.
    """
    try:
        yield
    except (InstantiationException, TypeError, ValueError, ImportError, AttributeError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(_problem(key, cause)) from None


def _problem(key: str, cause: BaseException) -> str:
    if isinstance(cause, pydantic.ValidationError):
        return "\n".join(value_problem(".".join([key, *map(str, p["loc"])]), p) for p in cause.errors())
    return (
        f"{key} cannot be built: {(str(cause) or repr(cause)).splitlines()[0]}\n"
        f"The comments in conf/{key.partition('.')[0]}/ say what each key is."
    )
