"""Types shared by the file readers: layout, columns and rows of a file."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.config.data import Data
from src.config.text_files import Quoting
from src.errors import UserError

LARGEST_FIELD = 1_000_000  # characters in one field


MOST_COLUMNS = 1 << 14  # of a sheet in Excel


Row = tuple[int, dict[str, Any]]  # row number, values by column (empty for a blank row)


@dataclass(frozen=True)
class Layout:
    """How a text file or workbook is to be read.

    Args:
        header: whether the first row has the column names; otherwise columns are called 0, 1, …
        quoting: of fields in a text file, as `data.quoting`.
        delimiter: between the columns of a text file; None: what its first line shows.
        encoding: of a text file without a byte order mark; None: UTF-8.
        section: prefix of these keys in the config, such as `data.`, for messages.
    """

    header: bool = True
    quoting: Quoting = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    section: str = ""

    @classmethod
    def of(cls, cfg: Data) -> Layout:
        return cls(cfg.header, cfg.quoting, cfg.delimiter, cfg.encoding, "data.")

    @classmethod
    def like(
        cls, cfg: Data, header: bool | None, quoting: Quoting | None, delimiter: str | None, encoding: str | None
    ) -> Layout:
        """Returns the layout of a file other than the training data.

        Args:
            cfg: of the run.
            header: other than in training; None: as in training.
            quoting: the same.
            delimiter: the same.
            encoding: of this file; None: UTF-8, since a file that is UTF-8 could be read wrongly in the encoding of the
                training data without an error.
        """
        return cls(
            cfg.header if header is None else header, quoting or cfg.quoting, delimiter or cfg.delimiter, encoding
        )


@dataclass(frozen=True)
class Content:
    """The content of a file; rows are read lazily.

    Args:
        columns: unique names; None where each row has its own keys.
        rows: in the order of the file.
        unit: what a row number counts: `line` or `row`.
        repeated: duplicate column names in the file, and how often each occurs.
    """

    columns: list[str] | None
    rows: Iterator[Row]
    unit: str = "line"
    repeated: Mapping[str, int] = field(default_factory=dict)


def name_columns(path: Path, given: Sequence[str], layout: Layout) -> tuple[list[str], dict[str, int]]:
    """Makes column names unique. As in pandas, a column without a name is called `Unnamed: 0` by its position, counted
    from 0, and duplicates `name.1`, `name.2`, …

    Args:
        path: of the file.
        given: its first row.
        layout: which says whether this row has the names.

    Returns:
        The names, and the duplicate ones with their counts.

    Raises:
        UserError: there are no names, or too many columns.
    """
    if len(given) > MOST_COLUMNS:
        raise UserError(
            f"A table may have at most {MOST_COLUMNS:,} columns; {path} has {len(given):,}.\n"
            "Is it another file format with this extension?"
        )
    if not layout.header:
        return [str(place) for place in range(len(given))], {}
    if not any(given):
        raise UserError(
            f"The first row of {path} must have the column names; it is blank.\nWrite their names above the rows."
        )
    repeated = {name: count for name, count in Counter(filter(None, given)).items() if count > 1}
    return _each_once(given), repeated


def _each_once(given: Sequence[str]) -> list[str]:
    named: list[str] = []
    taken, seen = {*given}, set[str]()
    numbers: dict[str, Iterator[int]] = {}
    for place, name in enumerate(given):
        wanted = unique = name or f"Unnamed: {place}"
        if name in seen if name else wanted in taken:
            others = (f"{wanted}.{n}" for n in numbers.setdefault(wanted, itertools.count(1)))
            unique = next(other for other in others if other not in taken)
        seen.add(name)
        taken.add(unique)
        named.append(unique)
    return named
