"""Reads data sets of the library `datasets`: from the hub, or saved in a folder."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from src.config.data import Data
from src.errors import UserError, listed, reason
from src.files import hub
from src.files.hub_errors import is_of_hub, refusal
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

    unreachable: UserError | None = None
    try:
        # Without this question a hub out of reach costs half a minute of retries.
        commit, _ = hub.ask("dataset", cfg.name, cfg.revision)
    except UserError as error:
        unreachable = error
    try:
        if unreachable:
            with hub.from_cache():
                loaded = datasets.load_dataset(cfg.name, cfg.config_name)
            _check_cached(loaded, cfg, unreachable)
        else:
            loaded = datasets.load_dataset(cfg.name, cfg.config_name, revision=commit)
        return _split_datasets(loaded, cfg.name, cfg)
    except UserError:
        raise
    except Exception as error:
        raise unreachable or _unloadable(error, cfg) from None


def _check_cached(loaded: Any, cfg: Data, unreachable: UserError) -> None:
    """Checks that the data set that the cache holds, the one that was downloaded last, is of the revision.

    Raises:
        UserError: it is of another commit, or whether it is cannot be known without the hub.
    """
    if cfg.revision is None:
        return
    files = next(iter(loaded.values())).cache_files
    commit = Path(files[0]["filename"]).parent.name if files else ""
    if cfg.revision != commit:
        raise UserError(f"{unreachable}\nThe cache has its commit {commit}: data.revision={commit}.")


def _unloadable(error: Exception, cfg: Data) -> UserError:
    """Returns the message for an exception from loading a data set that the hub has; any exception is possible."""
    import datasets

    if is_of_hub(error):
        return refusal(error, "dataset", str(cfg.name), cfg.revision)
    with contextlib.suppress(Exception):
        names = datasets.get_dataset_config_names(cfg.name, revision=cfg.revision)
        if cfg.config_name not in names and (cfg.config_name or len(names) > 1):
            return UserError(
                f"data.config_name must be a configuration of {cfg.name}; got {cfg.config_name}.\n"
                f"There are: {listed(names)}."
            )
    why = reason(error.__cause__ or error)
    return UserError(
        f"data.name must be a data set that can be read; {cfg.name} cannot: {why}.\n"
        f"If its files are right on the hub, delete {hub.cache_of('dataset', str(cfg.name))}: "
        "they are downloaded again then. Or give local files: data.path=DIR."
    )


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
    classes = _classes(dataset)
    columns: dict[str, list[Any]] = {}
    for name in dataset.features:
        values = dataset[name][:]
        columns[name] = _class_names(classes[name], values) if name in classes else values
    return Table(source, columns, list(range(1, dataset.num_rows + 1)), unit="row")


def _classes(dataset: Any) -> dict[str, Any]:
    """Returns the features of a data set's columns, if it says what they hold, whose numbers stand for class names."""
    from datasets import ClassLabel

    inner = {name: getattr(feature, "feature", feature) for name, feature in (dataset.features or {}).items()}
    return {name: feature for name, feature in inner.items() if isinstance(feature, ClassLabel)}


def with_class_names(dataset: Any) -> Any:
    """Returns a data set of `datasets` with class names instead of the numbers that stand for them."""
    from datasets import Features, List, Value

    classes = _classes(dataset)
    if not classes:
        return dataset
    text = Value("string")
    named = {name: List(text) if hasattr(dataset.features[name], "feature") else text for name in classes}
    memory = {"keep_in_memory": True} if hasattr(dataset, "num_rows") else {}  # or it leaves files beside its own
    return dataset.with_format(None).map(
        lambda columns: {name: _class_names(label, columns[name]) for name, label in classes.items()},
        batched=True,
        features=Features({**dataset.features, **named}),
        **memory,
    )


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
