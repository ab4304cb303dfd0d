"""A resumed run writes into its own folder only: which values may be given anew, and which links are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runs.saved_config import _values, is_outside

WRITING = re.compile(r"(?:pretrain\.)?(?:trainer|callbacks|logger)\b")  # sections that say where a training writes


FOLDERS = ("folder", "save_dir", "dirpath", "default_root_dir")  # of their keys, those that name one


NAME = re.compile(r"(?!/)[\w{}=:,+./ -]*")  # of a file, a metric or a choice, in a folder that is named elsewhere


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
