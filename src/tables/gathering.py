"""Gathers the rows of a file into columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from src.errors import UserError
from src.tables.content import MOST_COLUMNS, Row

LONGEST_SHARED, MOST_SHARED = 40, 1 << 16  # characters of texts that are kept once, and how many these are


MOST_KEYS = 1_000  # of all rows, where the first has fewer


def gathered(
    source: str, unit: str, known: Sequence[str], rows: Iterable[Row]
) -> tuple[dict[str, list[Any]], list[int]]:
    """Gathers rows one by one: of millions of rows, the mappings would take several times the memory of the columns.

    Args:
        source: the file, for messages.
        unit: what a row number counts.
        known: columns so far, or that the file names.
        rows: of the file.

    Returns:
        The columns, each with a value for every row, None where the row has none; and the numbers of the rows.

    Raises:
        UserError: the rows have too many different keys.
    """
    columns: dict[str, list[Any]] = {name: [] for name in known}
    numbers: list[int] = []
    texts: dict[str, str] = {}
    for number, values in rows:
        # Each key that only some rows have takes memory for all of them.
        most = MOST_KEYS if columns else MOST_COLUMNS
        for name, value in values.items():
            if name not in columns:
                if len(columns) >= most:
                    raise _too_many(source, f"{unit} {number}", name, most)
                columns[name] = [None] * len(numbers)
            columns[name].append(_shared(value, texts))
        numbers.append(number)
        if len(values) < len(columns):
            for column in columns.values():
                column.extend([None] * (len(numbers) - len(column)))
    return columns, numbers


def _too_many(source: str, place: str, name: str, most: int) -> UserError:
    return UserError(
        f"The rows of {source} may have at most {most:,} different keys"
        f"{', unless the first row has them all' if most < MOST_COLUMNS else ''}; {place} has one more: {name!r}.\n"
        "Are the keys values? Write them as such, or keep the columns that are needed."
    )


def _shared(value: Any, known: dict[str, str]) -> Any:
    """Returns a short text, such as a label, as the same object wherever it occurs.

    Args:
        value: of a cell.
        known: the short texts so far, which grows.
    """
    if not isinstance(value, str) or len(value) > LONGEST_SHARED:
        return value
    return known.setdefault(value, value) if len(known) < MOST_SHARED else known.get(value, value)
