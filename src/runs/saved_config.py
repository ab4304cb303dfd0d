"""Reads the config of a run folder, which is not trusted: what it may build and refer to is restricted."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.data import Data
from src.config.decision import Costs
from src.config.trainer_switches import DEFAULTS as TRAINER_DEFAULTS
from src.errors import UserError
from src.runs.environment import Number, as_number
from src.runs.moved_names import with_current_names

# The sections from which something is built; also below `pretrain`.
BUILT = re.compile(r"model|freeze|optimizer|scheduler\.schedule|trainer|(?:logger|callbacks)\.\w+")


Use = Literal["training", "network", "reading"]  # what is done with a saved config


# The sections from which each use builds nothing, and what is in them.
UNBUILT = {
    "training": re.compile(r"(?!)"),
    "network": re.compile(r"(?:pretrain\.)?(?:callbacks|logger)\b.*"),
    "reading": re.compile(r".*"),
}


TARGET = "_target_"


TRUST = "THAW_TRUST"  # environment variable: classes of the user's own, by their full names with commas between


WORD = re.compile(r"_\w*_")  # keys with a meaning for Hydra, such as _target_


SECTIONS = (
    *("backbone", "model", "data", "freeze", "optimizer"),
    *("scheduler", "trainer", "callbacks", "logger", "monitor"),
)


REFERENCE = re.compile(r"\$\{\.*\w[\w.]*\}")  # an interpolation of another key of the same config


OUTSIDE = re.compile(r"\$\([\w.$() ]+:")  # any other interpolation, defused by `as_read`


ENVIRONMENT = "oc.env"


DATA_DEFAULTS = {
    key: node.get_default(call_default_factory=True)
    for key, node in Data.model_fields.items()
    if not node.is_required()
}


# Of keys at the top level that were added later.
DEFAULTS: dict[str, Any] = {"calibration": None, "threshold": None, "costs": dict(Costs())}


Value = tuple[str, str, Any]  # the dotted key of a section, a key in it, its value


def as_written(config: DictConfig) -> DictConfig:
    """Returns a config as a run saves it: interpolations of anything outside of it are resolved, except those of the
    environment that may be secrets: all but numbers and truth values."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    return _with(config, content, _settled(content, config))


def _settled(content: Any, config: DictConfig | ListConfig, place: str = "") -> Any:
    found: dict[Any, Any] = {}
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        name = f"{place}.{key}".removeprefix(".")
        if isinstance(value, dict | list):
            found[key] = _settled(value, config[key], name)
        else:
            found[key] = _value(config, key, value, name) if _refers_outside(value) else value
    return found if isinstance(content, dict) else list(found.values())


def _value(config: DictConfig | ListConfig, key: Any, reference: str, name: str) -> Any:
    try:
        found = config[key]
    except OmegaConfBaseException:
        return reference
    if OmegaConf.is_config(found):
        found = OmegaConf.to_container(found, resolve=True)
    if isinstance(found, str) and "${" in found:
        return reference  # an escaped text, such as the name of a column, which would become an interpolation
    if ENVIRONMENT not in reference or isinstance(found, Number):
        return found
    number = as_number(name, found) if isinstance(found, str) else None
    return reference if number is None else number


def as_read(config: DictConfig) -> DictConfig:
    """Returns a config in which interpolations of anything outside of it, such as the environment, are plain text:
    `$(oc.env:HOME)`."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    return _with(config, content, _mapped(content, _as_text))


def _with(config: DictConfig, content: Any, changed: Any) -> DictConfig:
    """Returns a config with the changed content; the same config if nothing changed, since creating one is slow."""
    return config if changed == content else OmegaConf.create(changed)


def _mapped(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {key: _mapped(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_mapped(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


def _as_text(value: str) -> str:
    # Escaping it would hold for a single resolution only, and configs are resolved more than once.
    return value.replace("${", "$(").replace("}", ")") if _refers_outside(value) else value


def _refers_outside(value: Any) -> bool:
    return isinstance(value, str) and "${" in REFERENCE.sub("", value)


def is_outside(value: Any) -> bool:
    """Whether a value was an interpolation of something outside of the config, before `as_read`."""
    return isinstance(value, str) and bool(OUTSIDE.search(value))


def checked(config: DictConfig, folder: Path, conf: Path, use: Use) -> DictConfig:
    """Returns the config of a run folder, checked and with defaults for missing keys.

    Args:
        config: as it was read; it may be modified.
        folder: of the run; becomes the config's `run`.
        conf: the folder of the config groups, whose files define what may be built.
        use: what is done with it: nothing but reading, building the network, or training.

    Raises:
        UserError: it is not the config of a run, or this use would build what no file in conf/ builds in that section
            and the user does not trust.
    """
    source, found = folder / "config.yaml", with_current_names(as_read(config))
    found["run"] = str(folder)
    try:
        content: Any = OmegaConf.to_container(found, resolve=True)
    except Exception as error:
        # Circular references raise a RecursionError.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{source} must be the config of a run; it has an invalid reference: {reason}.") from None
    _check_shape(content, source)
    if foreign := _foreign(content, conf, use):
        raise UserError(
            f"{source} must only build what the files in conf/ build; it names {', '.join(sorted(foreign))}.\n"
            f"Classes of your own are built if the environment variable {TRUST} names them: MODULE.CLASS,MODULE.CLASS."
        )
    # Runs of earlier versions lack keys that were added later; the defaults are what they did.
    found["data"] = OmegaConf.merge(DATA_DEFAULTS, found["data"])
    found["trainer"] = OmegaConf.merge(TRAINER_DEFAULTS, found["trainer"])
    for key in DEFAULTS.keys() - found.keys():
        found[key] = DEFAULTS[key]
    return found


def _check_shape(content: Any, source: Path) -> None:
    """Checks the sections and values that every config of a run must have.

    Raises:
        UserError: one is missing or invalid.
    """
    if absent := [key for key in SECTIONS if not isinstance(content.get(key), dict)]:
        raise UserError(
            f"{source} must be the config of a run; it has no section {', '.join(absent)}.\n"
            "Copy the run folder again from where it was trained."
        )
    if not isinstance(content.get("seed"), int):
        raise UserError(f"{source} must have a whole number as its seed; got {content.get('seed')}.")
    if content["monitor"].get("mode", "auto") not in ("auto", "min", "max"):
        raise UserError(f"{source} must have auto, min or max as its monitor.mode; got {content['monitor']['mode']}.")
    if hidden := [f"{place}.{key}" for place, key, value in nodes(content) if _is_reference(value)]:
        raise UserError(f"{source} must not nest or concatenate references; it does in {', '.join(hidden)}.")


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def is_built(name: str, section: DictConfig, conf: Path) -> bool:
    """Returns whether what a section of a saved config names may be built."""
    return not _foreign({name: OmegaConf.to_container(section, resolve=True)}, conf, "training")


def _foreign(content: Any, conf: Path, use: Use) -> list[str]:
    """Returns the keys with a meaning for Hydra that would be built from, with values that no file of the same section
    in conf/ has, and that are no trusted class."""
    found = []
    for place, key, value in nodes(content):
        if WORD.fullmatch(key) and not UNBUILT[use].fullmatch(place):
            section = place.removeprefix("pretrain.")
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            known = (key, shown) in _words(conf / section.partition(".")[0]) or (key == TARGET and shown in _trusted())
            if not (known and BUILT.fullmatch(section)):
                found.append(f"{shown} ({place}.{key})")
    return found


def _trusted() -> frozenset[str]:
    return frozenset(name for name in os.environ.get(TRUST, "").replace(" ", "").split(",") if name)


def trust(config: DictConfig, conf: Path) -> None:
    """Lets this process and those that it starts build what a config of the user's own names, also from saved configs.

    Args:
        config: from the command line or a program, never from a run folder.
        conf: the folder of the config groups.
    """
    named = set()
    for place, key, value in nodes(OmegaConf.to_container(config, resolve=True)):
        section = place.removeprefix("pretrain.")
        if key == TARGET and BUILT.fullmatch(section) and (key, value) not in _words(conf / section.partition(".")[0]):
            named.add(str(value))
    if new := named - _trusted():
        os.environ[TRUST] = ",".join(sorted(new | _trusted()))


@functools.cache
def _words(group: Path) -> frozenset[tuple[str, str]]:
    """Returns the keys with a meaning for Hydra, with their values, in the files of a group."""
    texts = (file.read_text(encoding="utf-8") for file in group.rglob("*.yaml"))
    return frozenset(pair for text in texts for pair in re.findall(r"^ *(_\w+_): *([\w.]+)", text, re.MULTILINE))


def nodes(node: Any, place: str = "") -> Iterator[Value]:
    """Yields all nodes of nested mappings and lists, parents first."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield place, str(key), value
        yield from nodes(value, f"{place}.{key}" if place else str(key))
