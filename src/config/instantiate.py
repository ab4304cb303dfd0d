"""Instantiates what a section of a config names; error messages name the section's key."""

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
    """Returns the object that a section's `_target_` names, built with the section's values.

    Args:
        node: the section.
        key: of the section.
        arguments: further arguments, which are not in the config.

    Raises:
        UserError: the target cannot be imported, or does not accept a value.
    """
    with build_errors(key):
        return hydra.utils.instantiate(node, **arguments)


@contextlib.contextmanager
def build_errors(key: str) -> Iterator[None]:
    """Turns errors of the block, which builds something from the config, into a `UserError`.

    Args:
        key: of the section that is built.

    Raises:
        UserError: the block failed.
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
        f"The comments in conf/{key.partition('.')[0]}/ explain its keys."
    )
