"""Configs from Python: what a command line would give, and data that is in memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src.config.folder import CONF
from src.config.overrides import explained, literal, refuse_lists
from src.config.quoting import quoted, quoted_path
from src.errors import UserError, listed, nearest, reason
from src.runs.new_folder import as_hydras, refuse_replaced
from src.tables.splits import SPLITS, part_named

KEPT = Path("outputs/data")  # where data from memory is kept, since runs and their configs refer to files


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """Returns the config of a command; `run` is the name that the command would give the folder of a run.

    Args:
        name: of the command.
        overrides: as on its command line.

    Raises:
        UserError: overrides are wrong; says of each unknown one which is meant. Or the folder cannot be called so.
    """
    if odd := [one for one in overrides if not isinstance(one, str)]:
        raise UserError(
            f"Each override must be a text of its own; got {odd[0]!r}.\n"
            'Write them one by one, as "freeze=all", "seed=2", or a list as *LIST.'
        )
    refuse_lists(overrides)
    given = literal(overrides, {"run": quoted_path})
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(name, given, return_hydra_config=True)
        with as_hydras(cfg):
            folder = str(cfg.run)
    except Exception as error:  # nothing but Hydra has run
        raise UserError(explained(error, name, given)) from None
    refuse_replaced(folder)
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    own.run = folder
    return own


def choosing(data: Any) -> list[str]:
    """Returns the overrides that choose data from memory.

    Args:
        data: a DataFrame or a Dataset, or several by the names of their splits; None: no data, and no overrides.

    Raises:
        UserError: the data cannot be kept in a file.
    """
    return [] if data is None else ["data=table", f"data.path={quoted(str(kept(data)))}"]


def kept(data: Any) -> Path:
    """Writes data from memory into Parquet files, once for the same content.

    Args:
        data: has `to_parquet`, as a pandas DataFrame and a Dataset of datasets have, or is a mapping of such by split.

    Returns:
        The folder with a file for each split.

    Raises:
        UserError: it is something else.
    """
    splits = data if isinstance(data, Mapping) else {"train": data}
    _check(splits)
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as private:
        folder = Path(private) / "data"
        folder.mkdir()  # with the usual permissions, unlike the one around it
        digest = hashlib.sha256()
        for name, rows in sorted(splits.items()):
            file = folder / f"{name}.parquet"
            _write(rows, file, name)
            digest.update(f"{name} ".encode() + file.read_bytes())
        place = KEPT / digest.hexdigest()[:16]
        try:
            folder.rename(place)
        except OSError:  # there already, maybe just now
            if not place.is_dir():
                raise
    return place


def _check(splits: Mapping[Any, Any]) -> None:
    """
    Raises:
        UserError: there is no training split, a name is not that of a split, or a split is no table.
    """
    named = {name: part_named(str(name)) for name in splits}
    of_hub = hasattr(splits, "num_rows")  # a DatasetDict: others of its splits, such as `unsupervised`, are no mistake
    unknown = [name for name, part in named.items() if part is None and not of_hub]
    if unknown or "train" not in {part.split for part in named.values() if part}:
        got = unknown or [*splits]
        hints = [nearest(str(name), SPLITS) for name in unknown]
        raise UserError(
            "data must name its splits: train, and where they are given validation and test; "
            f"got {listed(map(repr, got)) or 'none'}.\n"
            + " ".join([*dict.fromkeys(hints), "For example: data={'train': frame, 'test': other}."])
        )
    for rows in splits.values():
        if not hasattr(rows, "to_parquet"):
            raise UserError(
                f"data must be a DataFrame, a Dataset, or a mapping of such by split; got {type(rows).__name__}.\n"
                "Make it one: pandas.DataFrame({'text': texts, 'label': labels})."
            )


def _write(rows: Any, file: Path, split: str) -> None:
    """Writes a table without an index, which only a DataFrame has.

    Raises:
        UserError: a column cannot be written.
    """
    try:
        if hasattr(rows, "index"):
            rows.to_parquet(file, index=False)
        else:
            from src.tables.saved_datasets import with_class_names

            (with_class_names(rows) if hasattr(rows, "features") else rows).to_parquet(str(file))
    except (ValueError, TypeError, NotImplementedError, OverflowError) as error:  # pyarrow's are kinds of these
        why = "; ".join(reason(part) for part in error.args)
        raise UserError(
            "data must have columns with values of one kind, whole numbers of at most 64 bits; "
            f"{split} cannot be written: {why}.\n"
            "Convert the column: frame['label'] = frame['label'].astype(str)."
        ) from None
