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


def instantiate(node: DictConfig, key: str, kind: type[Any] = object, **arguments: Any) -> Any:
    """Returns the object that a section's `_target_` names, built with the section's values.

    Args:
        node: the section.
        key: of the section.
        kind: a class that the object must be of.
        arguments: further arguments, which are not in the config.

    Raises:
        UserError: the target cannot be imported, does not accept a value, or is of another kind.
    """
    with build_errors(key):
        built = hydra.utils.instantiate(node, **arguments)
    if not isinstance(built, kind):
        raise UserError(
            f"{key}._target_ must name a {kind.__module__}.{kind.__name__}; {node._target_} is none.\n"
            "Derive your class from it, or name another."
        )
    return built


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
    first, *more = (str(cause) or repr(cause)).splitlines()
    if first.startswith("Error loading"):  # the next line says why
        return (
            f"{key} cannot be built: {' '.join([first, *more[:1]])}\n"
            "Name a class that Python can import: of a module in the current folder, or in a folder of PYTHONPATH."
        )
    return f"{key} cannot be built: {first}\nThe comments in conf/{key.partition('.')[0]}/ explain its keys."
