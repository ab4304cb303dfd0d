"""A run folder may come from anyone: what its config may build and refer to, and where it may make commands write."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import UserError
from src.switches import DEFAULTS

# Where in a config something is built; of the two trainings of a run with `pretrain`, in either.
BUILT = re.compile(r"model|freeze|optimizer|scheduler\.schedule|trainer|logger|callbacks\.\w+")
WORD = re.compile(r"_\w*_")  # keys that Hydra obeys, such as _target_
SECTIONS = (
    *("backbone", "model", "data", "freeze", "optimizer"),
    *("scheduler", "trainer", "callbacks", "logger", "monitor"),
)
REFERENCE = re.compile(r"\$\{\.*\w[\w.]*\}")  # to another key of the same config
OUTSIDE = re.compile(r"\$\([\w.$() ]+:")  # what becomes of references to anything else
ENVIRONMENT = "oc.env"
WRITING = re.compile(r"(?:pretrain\.)?(?:trainer|callbacks|logger)\b")  # sections that say where a training writes
FOLDERS = ("folder", "save_dir", "dirpath", "default_root_dir")  # of their keys, those that name one
NAME = re.compile(r"(?!/)[\w{}=:,+./ -]*")  # of a file, a metric or a choice, in a folder that is named elsewhere

Value = tuple[str, str, Any]  # the place of a section, a key in it, and what is there


def as_written(config: DictConfig) -> DictConfig:
    """A config as a run writes it down: what comes from outside of it is a value, but texts out of the environment,
    which may be secrets, stay references."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    return _with(config, content, _settled(content, config))


def _settled(content: Any, config: DictConfig | ListConfig) -> Any:
    found: dict[Any, Any] = {}
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, dict | list):
            found[key] = _settled(value, config[key])
        else:
            found[key] = _value(config, key, value) if _refers_outside(value) else value
    return found if isinstance(content, dict) else list(found.values())


def _value(config: DictConfig | ListConfig, key: Any, reference: str) -> Any:
    try:
        found = config[key]
    except OmegaConfBaseException:
        return reference
    if OmegaConf.is_config(found):
        found = OmegaConf.to_container(found, resolve=True)
    return found if ENVIRONMENT not in reference or isinstance(found, bool | int | float) else reference


def as_read(config: DictConfig) -> DictConfig:
    """A config with what it refers to outside of itself, such as the environment, as text: `$(oc.env:HOME)`."""
    content: Any = OmegaConf.to_container(config, resolve=False)
    return _with(config, content, _mapped(content, _as_text))


def _with(config: DictConfig, content: Any, changed: Any) -> DictConfig:
    """The config with another content; itself if it has that content, since making one takes long."""
    return config if changed == content else OmegaConf.create(changed)


def _mapped(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {key: _mapped(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_mapped(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


def _as_text(value: str) -> str:
    # Escaping it instead would hold for one reading only, and configs are read more than once.
    return value.replace("${", "$(").replace("}", ")") if _refers_outside(value) else value


def _refers_outside(value: Any) -> bool:
    return isinstance(value, str) and "${" in REFERENCE.sub("", value)


def is_outside(value: Any) -> bool:
    """Whether a value of a config that was read stands for something outside of it."""
    return isinstance(value, str) and bool(OUTSIDE.search(value))


def checked(config: DictConfig, folder: Path, conf: Path) -> DictConfig:
    """The config of a run folder, as others may use it.

    Args:
        config: as it was read; it may be changed.
        folder: of the run, which the config's `run` becomes.
        conf: the folder with the choices, whose files say what may be built.

    Raises:
        UserError: it is not the config of a run, or would build what the files in conf/ do not build there.
    """
    source, found = folder / "config.yaml", as_read(config)
    found["run"] = str(folder)
    try:
        content: Any = OmegaConf.to_container(found, resolve=True)
    except Exception as error:
        # References that lead in a circle end in a RecursionError.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{source} must be the config of a run; a reference in it leads nowhere: {reason}.") from None
    _check_shape(content, source)
    check_words(content, str(source), conf)
    for key, value in DEFAULTS.items():
        found.trainer.setdefault(key, value)  # switches that there were not when the run was made
    return found


def _check_shape(content: Any, source: Path) -> None:
    """
    Raises:
        UserError: something that is read of every run's config is missing, or not what it must be.
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
    if hidden := [f"{place}.{key}" for place, key, value in _values(content) if _is_reference(value)]:
        raise UserError(f"{source} may not put references together out of pieces; it does in {', '.join(hidden)}.")


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def check_words(content: Any, source: str, conf: Path) -> None:
    """
    Raises:
        UserError: something would be built, or called in a way, that no file in conf/ has in that section.
    """
    foreign = []
    for place, key, value in _values(content):
        if WORD.fullmatch(key):
            section = place.removeprefix("pretrain.")
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            if not BUILT.fullmatch(section) or (key, shown) not in _words(conf / section.partition(".")[0]):
                foreign.append(f"{shown} ({place}.{key})")
    if foreign:
        raise UserError(
            f"{source} may only build what the files in conf/ build; it names {', '.join(sorted(foreign))}.\n"
            "If you trust it, add a file that names it to the folder of its section in conf/."
        )


@functools.cache
def _words(group: Path) -> frozenset[tuple[str, str]]:
    """The keys that Hydra obeys, with their values, in the files of a group."""
    texts = (file.read_text(encoding="utf-8") for file in group.rglob("*.yaml"))
    return frozenset(pair for text in texts for pair in re.findall(r"^ *(_\w+_): *([\w.]+)", text, re.MULTILINE))


def _values(node: Any, place: str = "") -> Iterator[Value]:
    """Everything in nested mappings and lists, the outer before the inner."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield place, str(key), value
        yield from _values(value, f"{place}.{key}" if place else str(key))


def changeable(config: DictConfig, overrides: Iterable[str]) -> list[str]:
    """Those that may be given for a resumed run: values of the sections that say how long and where it trains, other
    callbacks, and what the config, which was read, has from outside of it."""
    sections = ("trainer.", "callbacks.", "callbacks=", "logger.")
    return [o for o in overrides if o.startswith(sections) or is_outside(OmegaConf.select(config, o.partition("=")[0]))]


def check_resumable(config: DictConfig, folder: Path, given: Sequence[str]) -> None:
    """Whether a training that goes on knows all it needs and writes into its own folder only.

    Args:
        config: of the run folder, checked.
        folder: of the run.
        given: the keys that the user gives anew.

    Raises:
        UserError: a value came from outside of the config, or checkpoints, logs or other files would lie elsewhere.
    """
    content: Any = OmegaConf.to_container(config, resolve=True)
    for place, key, value in _values(content):
        name = f"{place}.{key}".removeprefix(".")
        if name in given or not isinstance(value, str):
            continue
        if is_outside(value):
            raise UserError(
                f"{name} came from outside of the config, {value}, where a saved config is never followed.\n"
                f"Say it again, in quotes: {name}=…"
            )
        if WRITING.match(place) and not _stays(key, value, str(folder)):
            raise UserError(
                f"A resumed run writes into its own folder, {folder}; its {name} is {value}.\n"
                f"If you trust it, say it again: {name}=…"
            )


def _stays(key: str, value: str, folder: str) -> bool:
    """Whether a value is no path, or one that does not lead out of a folder."""
    inside = value == folder or value.startswith(f"{folder}/")
    named = inside or (NAME.fullmatch(value) and key not in FOLDERS)
    return bool(named) and ".." not in Path(value.removeprefix(folder)).parts


def refuse_links(paths: Iterable[Path], folder: Path) -> None:
    """
    Args:
        paths: in the folder, where something may be written.
        folder: that must hold what is written.

    Raises:
        UserError: one of them is a link that leads out of it.
    """
    inside = folder.resolve()
    for path in paths:
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise UserError(
                f"What is written here stays in {folder}; {path} is a link to {path.readlink()}.\n"
                "Put what it leads to in its place, or delete it."
            )
