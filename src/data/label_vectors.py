"""Labels given as 0/1 vectors in one column, such as [1, 0, 0]: positions are the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from src.arrays import NDArray
from src.data.label_values import Value, number, plain
from src.errors import UserError
from src.tables.tables import Table

Row = Sequence[Value]

FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1}
FIX = "Give each text a 0/1 vector with one value per label, all of the same length; or lists of label names."


def are_vectors(rows: Sequence[Row], table: Table) -> bool:
    """Whether lists are vectors: they contain only 0 and 1, and either all have the same length of at least 2, or one
    has a repeated value, which a list of labels never has.

    Args:
        rows: the lists of a column.
        table: that has the column.

    Raises:
        UserError: they are lists of numbers, but neither 0/1 vectors nor lists of labels.
    """
    lengths = {len(row) for row in rows}
    same = len(lengths) == 1 and min(lengths) >= 2
    repeat = any(len({v.name for v in row}) < len(row) for row in rows)
    values = {v for row in rows for v in row}
    others = {v for v in values if _flag(v) is None}
    if not others:
        return same or repeat
    fractions = {v for v in others if _is_share(v)}
    shares = [i for i, row in enumerate(rows) if not fractions.isdisjoint(row)] if fractions else []
    table.refuse(
        shares,
        "a list of numbers with fractions for labels",
        f"Soft labels and scores are not supported, only which labels a text has. {FIX}",
    )
    if same and repeat and all(v.typed for row in rows for v in row):
        table.refuse(
            [i for i, row in enumerate(rows) if None in map(_flag, row)],
            "a vector with values other than 0 and 1",
            FIX,
        )
    return False


def decode(rows: Sequence[Row], width: int, table: Table) -> NDArray[np.int64]:
    """Returns the vectors as int64 [rows, width].

    Args:
        rows: the lists of a column.
        width: how many labels there are.
        table: that has the column.

    Raises:
        UserError: one has another length, or values other than 0 and 1.
    """
    known = {v: _flag(v) for v in {v for row in rows for v in row}}
    flags = [[known[v] for v in row] for row in rows]
    bad = [i for i, row in enumerate(flags) if None in row]
    table.refuse(bad, "a vector with values other than 0 and 1", FIX)
    other = next((i for i, row in enumerate(flags) if len(row) != width), None)
    if other is not None:
        raise UserError(
            f"Every vector must have {width} values, one per label; {table.place(other)} has "
            f"{len(flags[other])}.\n{FIX}"
        )
    return np.array(flags, dtype=np.int64).reshape(len(flags), width)


def positions(vectors: NDArray[np.int64], table: Table) -> NDArray[np.int64]:
    """Returns the position of the 1 in each vector, int64 [rows].

    Raises:
        UserError: a vector does not have exactly one 1, as a single-label task needs.
    """
    wrong = np.flatnonzero(vectors.sum(1) != 1).tolist()
    table.refuse(
        wrong,
        "a vector without exactly one 1, in a single-label task",
        "Correct them; or, where a text may have several labels or none, train with data.task=multilabel.",
    )
    return np.asarray(vectors.argmax(1), dtype=np.int64)


def _flag(value: Value) -> int | None:
    return FLAGS.get(plain(value.name))


def _is_share(value: Value) -> bool:
    found = number(value.name) if value.typed else None
    return found is not None and not found.is_integer()
