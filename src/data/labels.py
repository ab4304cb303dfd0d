"""Labels: what is to be learned, what the labels are called, and every row's labels as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.config import Data, Objective
from src.data.tables import Table
from src.errors import UserError, nearest

SCORES = (
    "accuracy",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "precision_macro",
    "recall_macro",
    "auroc",
    "average_precision",
    "mcc",
    "ece",
)
EXACT = 2**53  # below it every whole number is a float of its own
MASKED_SCORES = ("perplexity", "accuracy", "accuracy_top5")


@dataclass(frozen=True)
class LabelSpace:
    """What is learned, and the names of the labels in the order of the logits (binary: negative first; masked language
    modelling has none)."""

    objective: Objective
    names: tuple[str, ...]

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of what is measured besides the loss; `src.metrics` gives exactly these."""
        if self.objective == "mlm":
            return MASKED_SCORES
        return (*SCORES, "subset_accuracy", "hamming") if self.objective == "multilabel" else SCORES

    @property
    def outputs(self) -> int:
        """How many logits a text has: one for binary, otherwise one a label."""
        return 1 if self.objective == "binary" else len(self.names)


def label_sets(table: Table, cfg: Data) -> list[tuple[str, ...]]:
    """The labels of every row as names; single-label rows have one.

    Raises:
        UserError: a column is missing or a row has no usable label.
    """
    if isinstance(cfg.label, list):
        columns = [
            [_flag(v, table, i, name) for i, v in enumerate(table.column(name, "data.label"))] for name in cfg.label
        ]
        return [tuple(n for n, on in zip(cfg.label, flags, strict=True) if on) for flags in zip(*columns, strict=True)]
    assert cfg.label is not None
    values = table.column(cfg.label, "data.label")
    missing = [i for i, v in enumerate(values) if _is_missing(v, cfg.label_delimiter is not None)]
    table.refuse(missing, f"no label in column {cfg.label!r}")
    _check_kinds(table, values, cfg)
    if cfg.label_delimiter:
        return [tuple(filter(None, (part.strip() for part in str(v).split(cfg.label_delimiter)))) for v in values]
    lists = [isinstance(v, list | tuple) for v in values]
    if any(lists) and not all(lists):
        table.refuse([i for i, is_list in enumerate(lists) if not is_list], "one label where others have a list")
    if any(lists):
        return [tuple(dict.fromkeys(_name(v) for v in row)) for row in values]
    names = [_name(v) for v in values]
    return [(n,) for n in _plain_numbers(names)]


def is_multilabel(sets: Iterable[tuple[str, ...]], values: Sequence[Any], cfg: Data) -> bool:
    """Whether rows can have several labels: by the config, or because the column holds lists."""
    declared = isinstance(cfg.label, list) or cfg.label_delimiter is not None or cfg.task == "multilabel"
    return declared or any(isinstance(v, list | tuple) for v in values) or any(len(s) != 1 for s in sets)


def label_space(sets: Sequence[tuple[str, ...]], multilabel: bool, cfg: Data) -> LabelSpace:
    """The labels of the training rows, in order, and the objective.

    Raises:
        UserError: there are too few labels to learn, or the task asked for does not fit them.
    """
    listed = cfg.label if isinstance(cfg.label, list) else sorted({n for s in sets for n in s}, key=_order)
    names = tuple(listed)
    if multilabel and cfg.task in ("binary", "multiclass"):
        raise UserError(
            f"data.task is {cfg.task}, but rows have lists of labels.\nChoose data.task=multilabel or auto."
        )
    if len(names) < 2:
        raise UserError(
            "There must be at least two labels to learn; the training "
            f"rows have {len(names)}: {', '.join(names) or 'none'}.\n"
            "Is data.label the right column?"
        )
    if multilabel:
        return LabelSpace("multilabel", names)
    if cfg.task == "binary" and len(names) != 2:
        raise UserError(
            f"data.task=binary needs exactly two labels; there are {len(names)}: {', '.join(names[:10])}.\n"
            "Choose data.task=multiclass or auto."
        )
    if cfg.task == "multiclass" or len(names) > 2:
        return LabelSpace("multiclass", names)
    return LabelSpace("binary", names)


def encode(sets: Sequence[tuple[str, ...]], space: LabelSpace, table: Table) -> NDArray[np.float32] | NDArray[np.int64]:
    """Labels as numbers: int64 [rows] indices into the names, or float32 [rows, labels] of 0 and 1 for multi-label.

    Raises:
        UserError: a row has a label that the training rows lack.
    """
    index = {name: i for i, name in enumerate(space.names)}
    for i, row in enumerate(sets):
        if unknown := next((n for n in row if n not in index), None):
            raise UserError(
                f"Every label must occur in the training rows; {table.source} "
                f"{table.unit} {table.rows[i]} has {unknown!r}.\n"
                f"{nearest(unknown, space.names)} Add training rows with it, or take these rows out."
            )
    if space.objective != "multilabel":
        return np.array([index[row[0]] for row in sets], dtype=np.int64)
    targets = np.zeros((len(sets), len(space.names)), dtype=np.float32)
    for i, row in enumerate(sets):
        targets[i, [index[n] for n in row]] = 1
    return targets


def _check_kinds(table: Table, values: Sequence[Any], cfg: Data) -> None:
    """
    Raises:
        UserError: a row has something that is neither a label nor a list of labels.
    """
    objects = [i for i, v in enumerate(values) if isinstance(v, dict | bytes)]
    table.refuse(objects, f"an object or bytes for a label in column {cfg.label!r}", "Make strings or numbers of them.")
    lists = [(i, v) for i, v in enumerate(values) if isinstance(v, list | tuple)]
    if lists and cfg.label_delimiter is not None:
        raise UserError(
            f"data.label_delimiter divides labels in a string; {table.source} {table.unit} {table.rows[lists[0][0]]} "
            "has a list.\nLeave it out: data.label_delimiter=null."
        )
    unusable = [i for i, row in lists if any(isinstance(v, list | dict | bytes) or _is_missing(v) for v in row)]
    table.refuse(unusable, "a list that holds something else than labels", "Lists may hold strings and numbers.")


def _is_missing(value: Any, may_be_empty: bool = False) -> bool:
    """
    Args:
        value: of a row.
        may_be_empty: an empty string is an empty set of labels, not a missing label.
    """
    if isinstance(value, str):
        return not may_be_empty and value.strip() in ("", "nan", "NaN")
    return value is None or (isinstance(value, float) and math.isnan(value))


def _flag(value: Any, table: Table, i: int, column: str) -> bool:
    text = str(value).strip().lower()
    if text not in ("0", "1", "0.0", "1.0", "true", "false"):
        raise UserError(
            f"Label columns must hold 0 or 1; {table.source} {table.unit} "
            f"{table.rows[i]} has {value!r} in column {column!r}.\n"
            "Correct it, or name one column with the labels themselves: data.label=COLUMN."
        )
    return text in ("1", "1.0", "true")


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # Line breaks and the like would break tables and logs.
    return " ".join(str(value).split())


def _plain_numbers(names: Sequence[str]) -> list[str]:
    """The labels 1, 1.0 and "1" are one label; they are so only where all labels are numbers."""
    numbers = {name: _number(name) for name in set(names)}
    if any(number is None for number in numbers.values()):
        return list(names)
    return [_plain(name, float(numbers[name] or 0)) for name in names]


def _plain(name: str, number: float) -> str:
    # Beyond these a float stands for several numbers, so that identifiers would become one label.
    if not abs(number) < EXACT:
        return name
    return str(int(number)) if number.is_integer() else str(number)


def _number(name: str) -> float | None:
    """The number that a label is; Python itself would take 1_0 and the digits of all scripts for numbers too."""
    try:
        return float(name) if name.isascii() and "_" not in name else None
    except ValueError:
        return None


def _order(name: str) -> tuple[int, float, str]:
    number = _number(name)
    return (1, 0.0, name) if number is None or math.isnan(number) else (0, number, name)
