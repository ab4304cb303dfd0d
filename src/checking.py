"""Composed config -> typed config, with every problem of it at once, before anything is loaded."""

from __future__ import annotations

from typing import Any

import pydantic
from omegaconf import DictConfig, OmegaConf

from src.config import BACKBONES, RunConfig, UserError, nearest


def check(cfg: DictConfig) -> RunConfig:
    """The typed form of a composed config.

    Raises:
        UserError: one message with every value that is missing, unknown, of the wrong type or out of range.
    """
    check_complete(cfg)
    values = OmegaConf.to_container(cfg, resolve=True)
    try:
        return RunConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError("\n".join(_problem(p) for p in error.errors())) from None


def check_complete(cfg: DictConfig) -> None:
    """
    Raises:
        UserError: one message with every value that is missing.
    """
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise UserError(
            "\n".join(f"{key} has no value.\nGive one: {key}=…" for key in missing)
            + "\nThe comments in conf/ say what each key is."
        )


def value_problem(key: str, problem: Any) -> str:
    """What pydantic found wrong with one value, as a message."""
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "It should")
    if problem["type"] == "value_error":
        return f"{key} {message}.".lstrip()
    return f"{key} has a value that it cannot take: {problem['input']!r}.\n{message}."


def _problem(problem: Any) -> str:
    # The tag of a union is part of pydantic's location, but not of the config's key.
    keys = [str(k) for k in problem["loc"] if not str(k).startswith("src.") and k != "other"]
    key = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        model: Any = RunConfig
        for part in map(str, problem["loc"][:-1]):
            # The tag of a union stands behind the key and says which of its members was meant.
            model = BACKBONES[part] if part in BACKBONES else getattr(model.model_fields.get(part), "annotation", None)
            model = model if hasattr(model, "model_fields") else RunConfig
        return f"{key} is not a key of this config.\n{nearest(keys[-1], model.model_fields)}"
    return value_problem(key, problem)
