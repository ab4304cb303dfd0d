"""Reads the target numbers of a regression."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from src.arrays import NDArray
from src.config.data import Data
from src.data.label_values import number
from src.data.labels import LabelSpace
from src.errors import UserError
from src.tables.tables import Table

LARGEST = float(np.finfo(np.float32).max)
LEAST_SPREAD = 1e-5  # of the largest number; below it float32 cannot tell the numbers apart well


def target_columns(cfg: Data) -> list[str]:
    """Returns the columns with the target numbers."""
    assert cfg.label is not None
    return cfg.label if isinstance(cfg.label, list) else [cfg.label]


def read_targets(table: Table, cfg: Data, key: str = "data.label") -> NDArray[np.float32]:
    """Returns the target numbers of every row, float32 [rows, targets].

    Args:
        table: with the rows.
        cfg: names the columns.
        key: the config key that names them, for messages.

    Raises:
        UserError: a column is missing, or a row has no finite number there.
    """
    columns = [_numbers(table, name, key) for name in target_columns(cfg)]
    return np.array(columns, dtype=np.float32).T


def standardised(space: LabelSpace, train: NDArray[np.float32], source: str) -> LabelSpace:
    """Returns the space with the mean and the standard deviation of each target, by which the loss standardises.

    Args:
        space: of a regression.
        train: float32 [examples, targets], of the training split.
        source: of the split.

    Raises:
        UserError: a target is constant.
    """
    if len(train) < 2:
        raise UserError(
            f"Numbers need at least two training texts, to standardise them; {source} leaves one.\n"
            "Add texts, or raise data.train_size or data.limit."
        )
    numbers = train.astype(np.float64)
    mean, std = numbers.mean(0), numbers.std(0)
    for name, column, spread in zip(space.names, numbers.T, std, strict=True):
        if spread <= LEAST_SPREAD * np.abs(column).max():
            raise UserError(
                f"Targets must differ between texts; those of the training texts of {source} in column {name!r} are "
                f"all about {column[0]:g}.\nIs data.label the right column?"
            )
    return replace(space, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _numbers(table: Table, column: str, key: str) -> list[float]:
    values = table.column(column, key)
    found = [_number(value) for value in values]
    blank = [i for i, value in enumerate(values) if value is None or (isinstance(value, str) and not value.strip())]
    table.refuse(blank, f"no number in column {column!r}")
    wrong = [i for i, value in enumerate(found) if value is None]
    shown = f", {str(values[wrong[0]])[:40]!r}" if wrong else ""
    table.refuse(
        wrong,
        f"something other than a number in column {column!r}{shown}",
        "data.task=regression needs numbers such as 3.5, with a point.",
    )
    unusable = [i for i, value in enumerate(found) if value is not None and not math.isfinite(value)]
    table.refuse(unusable, f"NaN or an infinite number in column {column!r}", "Give numbers, or delete the rows.")
    large = [i for i, value in enumerate(found) if value is not None and abs(value) > LARGEST]
    table.refuse(large, f"a number beyond {LARGEST:.2g} in column {column!r}", "Give it in a larger unit.")
    return [value for value in found if value is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return number(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
