"""Reads the label columns of a table, before the task is known."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from src.config.data import Data
from src.data.label_values import Value, value
from src.errors import UserError
from src.tables.tables import Table

QUOTED = r"""(?:"[^"]*"|'[^']*')"""
ITEMS = re.compile(rf"{QUOTED}|[-+0-9.]+|[Tt]rue|[Ff]alse")
WRITTEN_LIST = re.compile(rf"\s*(?:(?:{ITEMS.pattern})(?:[,\s]+(?:{ITEMS.pattern}))*,?\s*)?")


@dataclass(frozen=True)
class Labels:
    """The labels of each row of a table.

    Args:
        table: with the rows.
        rows: the labels of each.
        kind: `one` label per row; `lists` of labels or 0/1 vectors; or `flags`, one 0/1 column per label.
    """

    table: Table
    rows: list[tuple[Value, ...]]
    kind: Literal["one", "lists", "flags"]

    def first_with(self, label: Value) -> str:
        """Returns where the first row with a label is."""
        return self.place(next(i for i, row in enumerate(self.rows) if label in row))

    def place(self, index: int) -> str:
        """Returns where a row is, such as `train.csv line 3`."""
        return self.table.place(index)


def read_labels(table: Table, cfg: Data, key: str = "data.label") -> Labels:
    """Returns the labels of every row.

    Args:
        table: with the rows.
        cfg: names the label columns.
        key: the config key that names them, for messages.

    Raises:
        UserError: a column is missing or a row has no usable label.
    """
    if isinstance(cfg.label, list):
        columns = [[_flag(v, table, i, name) for i, v in enumerate(table.column(name, key))] for name in cfg.label]
        # Column names are kept literally, with all spaces.
        names = [Value(name, name, typed=False) for name in cfg.label]
        rows = [tuple(n for n, on in zip(names, row, strict=True) if on) for row in zip(*columns, strict=True)]
        return Labels(table, rows, "flags")
    assert cfg.label is not None
    values = table.column(cfg.label, key)
    missing = [i for i, v in enumerate(values) if _is_missing(v, cfg.label_delimiter is not None)]
    table.refuse(missing, f"no label in column {cfg.label!r}")
    _check_kinds(table, values, cfg.label)
    if cfg.label_delimiter:
        values = [_parts(v, cfg.label_delimiter) for v in values]
    lists = [isinstance(v, list | tuple) for v in values]
    if not any(lists):
        return Labels(table, [_single(v) for v in values], "one")
    single = [i for i, is_list in enumerate(lists) if not is_list]
    table.refuse(single, "one label where others have a list", 'Make it a list too: ["a"] instead of "a".')
    return Labels(table, [tuple(map(value, row)) for row in values], "lists")


@functools.lru_cache(maxsize=1 << 16, typed=True)
def _single(label: Any) -> tuple[Value]:
    """The one label of a row; the same object for all rows that have it."""
    return (value(label),)


def _check_kinds(table: Table, values: Sequence[Any], column: str) -> None:
    """
    Raises:
        UserError: a row has something that is neither a label nor a list of labels.
    """
    objects = [i for i, v in enumerate(values) if isinstance(v, dict | bytes)]
    table.refuse(objects, f"an object or bytes for a label in column {column!r}", "Make strings or numbers of them.")
    lists = [(i, v) for i, v in enumerate(values) if isinstance(v, list | tuple)]
    unusable = [i for i, row in lists if any(isinstance(v, list | dict | bytes) or _is_missing(v) for v in row)]
    table.refuse(unusable, "a list that contains something other than labels", "Lists may contain strings and numbers.")
    written = [i for i, v in enumerate(values) if isinstance(v, str) and _is_written_list(v.strip())]
    if written:
        raise UserError(
            f"Labels must be texts, numbers or lists; {table.place(written[0])} has the "
            f"text {values[written[0]].strip()[:60]!r} in column {column!r}, a list that was written into a cell.\n"
            "Save the table as .jsonl or .parquet, where lists stay lists; or separate the labels by a delimiter, as "
            "in a|b, and give data.label_delimiter; or use one 0/1 column per label: data.label=[a,b]."
        )


def _is_written_list(text: str) -> bool:
    """Whether a text is a printed list or tuple: of 0 and 1, of strings, or of three or more numbers. Two numbers may
    be an interval, such as (0, 2.5] or [18, 25]."""
    if text[:1] + text[-1:] not in ("[]", "()") or not WRITTEN_LIST.fullmatch(text[1:-1]):
        return False
    items = ITEMS.findall(text[1:-1])
    flags = [item for item in items if item.lower() in ("0", "1", "0.", "1.", "0.0", "1.0", "true", "false")]
    return (text[0] == "[" and not items) or any(item[0] in "'\"" for item in items) or len(items) > 2 or len(flags) > 1


def _parts(labels: Any, delimiter: str) -> list[Any]:
    if not isinstance(labels, str):
        return list(labels) if isinstance(labels, list | tuple) else [labels]
    return [part.strip() for part in labels.split(delimiter) if part.strip()]


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
            f"Label columns must hold 0 or 1; {table.place(i)} has {value!r} in column {column!r}.\n"
            "Correct it, or name one column with the labels themselves: data.label=COLUMN."
        )
    return text in ("1", "1.0", "true")
