"""Reads data sets of the library `datasets`: from the hub, or saved in a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from src.config.data import Data
from src.errors import UserError, reason
from src.files import hub
from src.tables.splits import find_splits
from src.tables.tables import Table

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def read_hub(cfg: Data) -> dict[str, Table]:
    """Returns the tables of a hub data set by split, through the local cache.

    Raises:
        UserError: the hub has no such data set or cannot be reached, and it is not in the cache.
    """
    assert cfg.name
    if not HUB_ID.fullmatch(cfg.name):
        # `datasets` takes a word such as csv for a file format and reads all such files in the working directory.
        raise UserError(f"data.name must be a data set on the hub, org/name; got {cfg.name}.\nOr give data.path=FILE.")
    # Imported here because only hub data sets need it, and it takes long.
    import datasets
    from huggingface_hub import constants

    unreachable: UserError | None = None
    try:
        # Without this question a hub out of reach costs half a minute of retries.
        hub.list_files("dataset", cfg.name)
    except UserError as error:
        unreachable = error
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        return _split_datasets(datasets.load_dataset(cfg.name, cfg.config_name), cfg.name, cfg)
    except UserError:
        raise
    except Exception as error:
        # Data sets on the hub can fail with any exception.
        raise unreachable or UserError(
            f"The data set {cfg.name} cannot be loaded from the hub: {error}.\nGive local files instead: data.path=DIR"
        ) from None


def read_saved(path: Path, cfg: Data) -> dict[str, Table]:
    from datasets import load_from_disk

    try:
        return _split_datasets(load_from_disk(str(path)), str(path), cfg)
    except UserError:
        raise
    except Exception as error:
        # Damaged folders raise anything, from KeyError to ArrowInvalid.
        why = reason(f"{type(error).__name__} {error}")
        raise UserError(
            f"{path} must be a folder written by save_to_disk; it cannot be read: {why}.\nSave the data set again."
        ) from None


def _from_dataset(dataset: Any, source: str) -> Table:
    """A split of a `datasets` data set as a table; numbers that stand for class names become the names."""
    from datasets import ClassLabel

    columns: dict[str, list[Any]] = {}
    for name, feature in dataset.features.items():
        values = dataset[name][:]
        inner = getattr(feature, "feature", feature)
        if isinstance(inner, ClassLabel):
            values = [_class_names(inner, v) for v in values]
        columns[name] = values
    return Table(source, columns, list(range(1, dataset.num_rows + 1)), unit="row")


def _split_datasets(datasets: Any, source: str, cfg: Data) -> dict[str, Table]:
    """The splits of a `datasets` data set, under the names used here.

    Raises:
        UserError: it has no training split, or several of one kind.
    """
    if not hasattr(datasets, "keys"):
        return {"train": _from_dataset(datasets, source)}
    splits = find_splits({str(name): str(name) for name in datasets}, [], source, cfg)
    if "train" not in splits:
        raise UserError(f"{source} must have a split named train; it has {', '.join(map(str, datasets))}.")
    return {split: _from_dataset(datasets[name], f"{source}[{name}]") for split, (name, *_) in splits.items()}


def _class_names(label: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_class_names(label, v) for v in value]
    # Hidden test labels are -1 in many hub data sets.
    return label.int2str(value) if value is not None and value >= 0 else None
