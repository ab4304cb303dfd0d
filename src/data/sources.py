"""Where the splits of a data set come from: a file, a folder of files, a saved `datasets` folder, the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from src import hub
from src.config import Data
from src.data.reading import READERS
from src.data.tables import Table, kinds, read_table
from src.errors import UserError, listed, reason

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


def read_splits(path: Path) -> dict[str, Table]:
    """The tables at a path by split; a single file is the split `train`.

    Raises:
        UserError: nothing is there, or it cannot be read.
    """
    try:
        return _read_splits(path)
    except OSError as error:
        raise UserError(
            f"data.path must be a file or folder that can be read; {path}: {error.strerror or error}.\n"
            "Check the spelling and the permissions."
        ) from None


def _read_splits(path: Path) -> dict[str, Table]:
    path.stat()
    if path.is_file():
        return {"train": read_table(path)}
    if not path.is_dir():
        raise UserError(
            f"data.path must be a file or folder; {path} is a device, a pipe or a socket.\nWrite it to a file first."
        )
    if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
        return _read_saved_dataset(path)
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        split = _split_named(file.stem)
        if split is None or file.suffix.lower() not in READERS:
            continue
        if split in found:
            raise UserError(
                f"{path} must hold one file per split; {found[split].name} and {file.name} are both {split}.\n"
                "Rename or remove one."
            )
        found[split] = file
    if "train" not in found:
        present = listed(sorted(f.name for f in path.iterdir())) or "nothing"
        raise UserError(
            f"A data folder must hold a train file ({kinds()}), and may hold validation and test files; {path} holds "
            f"{present}.\nRename the files, or give one file: data.path={path}/NAME."
        )
    return {split: read_table(file) for split, file in found.items()}


def read_hub(cfg: Data) -> dict[str, Table]:
    """The tables of a hub data set by split, through the hub's cache.

    Raises:
        UserError: the hub has no such data set or cannot be reached, and the cache does not hold it.
    """
    assert cfg.name
    if not HUB_ID.fullmatch(cfg.name):
        # A single word may be a kind of file to `datasets`, which then reads all such files in the working directory.
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
        return _split_datasets(datasets.load_dataset(cfg.name, cfg.config_name), cfg.name)
    except UserError:
        raise
    except Exception as error:
        # Data sets are made by many hands and fail in many ways.
        raise unreachable or UserError(
            f"The data set {cfg.name} cannot be loaded from the hub: {error}.\nGive local files instead: data.path=DIR"
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


def _split_datasets(datasets: Any, source: str) -> dict[str, Table]:
    """The splits of a `datasets` data set, under the names used here.

    Raises:
        UserError: it has no training split.
    """
    if not hasattr(datasets, "keys"):
        return {"train": _from_dataset(datasets, source)}
    tables = {
        s: _from_dataset(d, f"{source}[{name}]") for name, d in datasets.items() if (s := _split_named(str(name)))
    }
    if "train" not in tables:
        raise UserError(f"{source} must have a split named train; it has {', '.join(map(str, datasets))}.")
    return tables


def _class_names(label: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_class_names(label, v) for v in value]
    # Hidden test labels are -1 in many hub data sets.
    return label.int2str(value) if value is not None and value >= 0 else None


def _split_named(name: str) -> str | None:
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def _read_saved_dataset(path: Path) -> dict[str, Table]:
    from datasets import load_from_disk

    try:
        return _split_datasets(load_from_disk(str(path)), str(path))
    except UserError:
        raise
    except Exception as error:
        # Damaged folders raise anything, from KeyError to ArrowInvalid.
        why = reason(f"{type(error).__name__} {error}")
        raise UserError(
            f"{path} must be a folder written by save_to_disk; it cannot be read: {why}.\nSave the data set again."
        ) from None
