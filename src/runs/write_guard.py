"""Makes sure that a resumed run writes into its own folder only: which overrides and links are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runs.saved_config import is_outside, nodes

WRITING = re.compile(r"(?:pretrain\.)?(?:trainer|callbacks|logger)\b")  # sections that decide where a training writes


# Their keys that name a folder or a server.
FOLDERS = ("folder", "save_dir", "dir", "dirpath", "default_root_dir", "tracking_uri", "artifact_location")


# Of a file, a metric or an option, but no address. TensorBoardLogger expands environment variables and ~.
NAME = re.compile(r"(?![/~])(?!.*://)[^\x00-\x1f\\$]*")


def changeable(config: DictConfig, overrides: Iterable[str]) -> list[str]:
    """Returns the overrides that are allowed for a resumed run: values of trainer, callbacks and logger, other
    callbacks, the backbone's commit, and values that came from outside of the saved config."""
    sections = ("trainer.", "callbacks.", "callbacks=", "logger.", "backbone.revision=")
    return [o for o in overrides if o.startswith(sections) or is_outside(OmegaConf.select(config, o.partition("=")[0]))]


def check_resumable(config: DictConfig, folder: Path, given: Sequence[str]) -> None:
    """Checks that a resumed training has all values it needs and writes into its own folder only.

    Args:
        config: of the run folder, checked.
        folder: of the run.
        given: the keys that the user overrides.

    Raises:
        UserError: a value came from outside of the config, or checkpoints, logs or other files would lie elsewhere.
    """
    content: Any = OmegaConf.to_container(config, resolve=True)
    for place, key, value in nodes(content):
        name = f"{place}.{key}".removeprefix(".")
        if name in given or not isinstance(value, str):
            continue
        if is_outside(value):
            raise UserError(
                f"{name} came from outside of the config, {value}, which is not resolved in a saved config.\n"
                f"Give it again, in quotes: {name}=…"
            )
        if WRITING.match(place) and not _stays(key, value, str(folder)):
            raise UserError(
                f"A resumed run writes into its own folder, {folder}; its {name} is {value}.\n"
                f"If you trust it, give it again: {name}=…"
            )


def _stays(key: str, value: str, folder: str) -> bool:
    """Whether a value is not a path, or is a path inside the folder."""
    inside = value == folder or value.startswith(f"{folder}/")
    named = inside or (NAME.fullmatch(value) and key not in FOLDERS)
    return bool(named) and ".." not in Path(value.removeprefix(folder)).parts


def refuse_links(paths: Iterable[Path], folder: Path) -> None:
    """Refuses symbolic links that lead out of a folder.

    Args:
        paths: in the folder, which may be written to.
        folder: that the run writes into.

    Raises:
        UserError: one of the paths is such a link.
    """
    inside = folder.resolve()
    for path in paths:
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise UserError(
                f"A run writes into its own folder, {folder}; {path} is a link to {path.readlink()}.\n"
                "Replace the link with a copy of its target, or delete it."
            )
