"""Reads the splits of a data set from a file, a folder of files, a saved `datasets` folder, or the hub."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from src.config.data import Data
from src.config.folder import CONF
from src.errors import UserError
from src.files.paths import user_path
from src.tables.content import Layout
from src.tables.folders import read_folder
from src.tables.patterns import matched
from src.tables.reading import kind_of, stem
from src.tables.saved_datasets import read_hub, read_saved
from src.tables.splits import part_named
from src.tables.tables import Table, join, read_table

log = logging.getLogger(__name__)

HIDDEN = ("-1", "-1.0")  # labels of test splits whose true labels are withheld


def read_splits(cfg: Data) -> dict[str, Table]:
    """Returns the tables of a data set by split. A single file is the split `train`; the others may be missing.

    Raises:
        UserError: it does not exist or cannot be read.
    """
    found = _read_path(_found(user_path(cfg.path)), cfg) if cfg.path else read_hub(cfg)
    if not cfg.header:
        for table in found.values():
            _warn_of_header(table, cfg)
    instead = "leave this split out" if cfg.folds else "take this split from train instead"
    remedies = {name: f"\nOr {instead}: data.ignore_splits=[{name}]" for name in found}
    return {
        name: table if name == "train" else dataclasses.replace(table, remedy=remedies[name])
        for name, table in found.items()
    }


def _found(path: Path) -> Path:
    """Returns the same, or where there is none, the file of that name that comes with the project, such as
    `src/data/reviews.csv`: commands can be started in any folder."""
    included = CONF.parent / path
    return included if path.parts[:2] == ("src", "data") and not path.exists() and included.exists() else path


def kinds_read(cfg: Data) -> set[str]:
    """Returns the kinds of the files of a data set that has been read, such as `.csv`; none for one of the hub."""
    if not cfg.path:
        return set()
    path = _found(user_path(cfg.path))
    files = path.rglob("*") if path.is_dir() else matched(path, "data.path")
    return {kind for file in files if (kind := kind_of(file))}


def _read_path(path: Path, cfg: Data) -> dict[str, Table]:
    try:
        if len(files := matched(path, "data.path")) > 1:
            return {"train": join([read_table(file, Layout.of(cfg)) for file in files], str(path))}
        (path,) = files
        path.stat()
        if path.is_file():
            return {"train": _read_file(path, cfg)}
        if not path.is_dir():
            raise UserError(
                f"data.path must be a file or folder; {path} is a device, a pipe or a socket.\n"
                "Write it to a file first."
            )
        if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
            return read_saved(path, cfg)
        return read_folder(path, cfg)
    except OSError as error:
        raise UserError(
            f"data.path must be a file or folder that can be read; {path}: {error.strerror or error}.\n"
            "Check the spelling and the permissions."
        ) from None


def _read_file(path: Path, cfg: Data) -> Table:
    part = part_named(stem(path))
    if part and part.count > 1:
        log.warning("%s is one of %d parts; data.path=%s reads them all", path, part.count, path.parent)
    return read_table(path, Layout.of(cfg))


def _warn_of_header(table: Table, cfg: Data) -> None:
    """Says that the first row seems to hold names: one word for a text, and a label that no other row has."""
    texts, labels = (table.columns.get(str(name), []) for name in (cfg.text_columns[0], cfg.label))
    if labels and texts and len(str(texts[0]).split()) == 1 and labels.count(labels[0]) == 1:
        row = f"{texts[0]!r} and {labels[0]!r}"
        log.warning("The first row of %s has %s: if these are names of columns, data.header=true", table.source, row)


def refuse_hidden(tables: dict[str, Table], cfg: Data) -> None:
    """
    Raises:
        UserError: the labels of a split are withheld.
    """
    if not isinstance(cfg.label, str):
        return
    known, *others = ((name, table, table.columns.get(cfg.label, [])) for name, table in tables.items())
    for name, table, values in others:
        if values and all(map(_is_hidden, values)) and not any(map(_is_hidden, known[2])):
            raise UserError(
                f"The {name} split must have labels; those of {table.source} are hidden, all are -1.{table.remedy}"
            )


def _is_hidden(value: Any) -> bool:
    return str(value).strip() in HIDDEN
