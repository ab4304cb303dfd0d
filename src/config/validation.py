"""Turns a composed config into a typed one, and reports all of its wrong values at once, before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.backbone import BACKBONES
from src.config.schema import RunConfig
from src.config.sections import Section
from src.errors import UserError, nearest

Options = TypeVar("Options", bound=Section)


def check(cfg: DictConfig) -> RunConfig:
    """Returns the typed form of a composed config.

    Raises:
        UserError: one message with every value that is missing, unknown, of the wrong type or out of range.
    """
    check_complete(cfg)
    values = OmegaConf.to_container(cfg, resolve=True)
    try:
        return RunConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError("\n".join(_problem(p) for p in error.errors())) from None


def check_options(cfg: DictConfig, options: type[Options]) -> Options:
    """Returns the typed form of a command's config.

    Args:
        cfg: of a command other than train.
        options: its schema.

    Raises:
        UserError: as `check`.
    """
    check_complete(cfg)
    return check_values(OmegaConf.to_container(cfg, resolve=True), options)


def check_values(values: object, options: type[Options]) -> Options:
    """Returns the typed form of a command's options.

    Args:
        values: by their keys.
        options: their schema.

    Raises:
        UserError: one message with every value that is of the wrong type or out of range.
    """
    try:
        return options.model_validate(values)
    except pydantic.ValidationError as error:
        problems = (value_problem(".".join(_keys(problem)), problem) for problem in error.errors())
        raise UserError("\n".join(problems)) from None


def check_references(cfg: DictConfig) -> None:
    """
    Raises:
        UserError: a value refers to a key that does not exist.
    """
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(reference_problem(error)) from None


def reference_problem(error: OmegaConfBaseException, names: Mapping[str, str] | None = None) -> str:
    """Returns the message for a reference that leads nowhere.

    Args:
        error: of resolving it.
        names: what the user calls the key that has it, where this is not what Hydra calls it.
    """
    key, reason = str(error.full_key or "A value"), str(error.msg or error).splitlines()[0]
    key = (names or {}).get(key, key)
    if unset := re.search("Environment variable '(.+)' not found", reason):
        return f"{key} reads the environment variable {unset[1]}, which is not set.\nSet it: export {unset[1]}=…"
    return (
        f"{key} refers to a key that does not exist: {reason}.\n"
        "Write ${KEY} for a key of this config, or \\${ for the characters themselves."
    )


def check_complete(cfg: DictConfig) -> None:
    """
    Raises:
        UserError: one message with every value that is missing, or the first reference to a key that does not exist.
    """
    check_references(cfg)
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise UserError(
            "\n".join(f"{key} has no value.\nGive one: {key}=…" for key in missing)
            + "\nThe comments in conf/ explain each key."
        )


def value_problem(key: str, problem: Any) -> str:
    """Returns pydantic's problem with one value as a message."""
    if problem["type"] == "missing":
        return f"{key} has no value.\nGive one: {key}=…"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "It should")
    if problem["type"] == "value_error":
        # A message of a section may begin with one of its keys, such as `stride=8 is …`.
        inner = re.match(r"\w+(?=[ =])", message)
        joint = "." if key and inner and isinstance(problem["input"], dict) and inner[0] in problem["input"] else " "
        return f"{key}{joint}{message}.".lstrip()
    return f"{key} has an invalid value: {problem['input']!r}.\n{message}."


def _problem(problem: Any) -> str:
    keys = _keys(problem)
    key = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        model: Any = RunConfig
        for part in map(str, problem["loc"][:-1]):
            # The tag of a union follows the key and names the member that was meant.
            model = BACKBONES[part] if part in BACKBONES else getattr(model.model_fields.get(part), "annotation", None)
            model = model if hasattr(model, "model_fields") else RunConfig
        if key == "experiment":
            return f"{key} is not a key of this config.\nBegin the file of {key}=… with the line: # @package _global_"
        return f"{key} is not a key of this config.\n{nearest(keys[-1], model.model_fields)}"
    return value_problem(key, problem)


def _keys(problem: Any) -> list[str]:
    # The tag of a union is part of pydantic's location, but not of the key.
    return [str(key) for key in problem["loc"] if not str(key).startswith("src.") and key != "other"]
