"""Labels: what is to be learned, what the labels are called, and every row's labels as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.config import Data, Objective, UserError, nearest
from src.data.tables import Table

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
    refuse_rows(table, [i for i, v in enumerate(values) if _is_missing(v, cfg)], f"no label in column {cfg.label!r}")
    if cfg.label_delimiter:
        return [tuple(filter(None, (part.strip() for part in str(v).split(cfg.label_delimiter)))) for v in values]
    lists = [isinstance(v, list | tuple) for v in values]
    if any(lists) and not all(lists):
        refuse_rows(table, [i for i, is_list in enumerate(lists) if not is_list], "one label where others have a list")
    if any(lists):
        return [tuple(dict.fromkeys(_name(v) for v in row)) for row in values]
    if any(isinstance(v, dict) for v in values):
        raise UserError(
            f"{table.source}: labels must be strings, numbers or lists; column {cfg.label!r} holds objects."
        )
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
    if len(names) < 2 and not (multilabel and names):
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


def refuse_rows(table: Table, indices: Sequence[int], problem: str) -> None:
    if indices:
        shown = ", ".join(str(table.rows[i]) for i in indices[:5]) + (", …" if len(indices) > 5 else "")
        count = f"{len(indices)} rows" if len(indices) > 1 else "1 row"
        raise UserError(
            f"Every row must have a text and a label; {table.source} "
            f"has {count} with {problem}: {table.unit} {shown}.\n"
            "Fill them in or delete them."
        )


def _is_missing(value: Any, cfg: Data) -> bool:
    if isinstance(value, str):
        # With a delimiter an empty field is an empty set of labels.
        return cfg.label_delimiter is None and value.strip() in ("", "nan", "NaN")
    return value is None or (isinstance(value, float) and math.isnan(value))


def _flag(value: Any, table: Table, i: int, column: str) -> bool:
    text = str(value).strip().lower()
    if text not in ("0", "1", "0.0", "1.0", "true", "false"):
        raise UserError(
            f"Label columns must hold 0 or 1; {table.source} {table.unit} "
            f"{table.rows[i]} has {value!r} in column {column!r}."
        )
    return text in ("1", "1.0", "true")


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # Line breaks and the like would break tables and logs.
    return " ".join(str(value).split())


def _plain_numbers(names: Sequence[str]) -> list[str]:
    """The labels 1, 1.0 and "1" are one label; they are so only where all labels are numbers."""
    try:
        numbers = [float(n) for n in names]
    except ValueError:
        return list(names)
    return [str(int(x)) if x.is_integer() else str(x) for x in numbers]


def _order(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
