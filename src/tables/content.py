"""What the readers of files share: how a file is laid out, its columns, and its rows one after the other."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.config.data import Data, Quoting
from src.errors import UserError

LARGEST_FIELD = 1_000_000  # characters in one field


MOST_COLUMNS = 1 << 14  # of a sheet in Excel


Row = tuple[int, dict[str, Any]]  # its number, and its values by column; none for a blank row


@dataclass(frozen=True)
class Layout:
    """What a table in a text file or a workbook does not say of itself.

    Args:
        header: whether its first row names the columns; otherwise they are called 0, 1, …
        quoting: whether quote marks in a text file hold fields together, as `data.quoting`.
        section: of the config, with a point, that has these keys.
    """

    header: bool = True
    quoting: Quoting = "auto"
    section: str = ""

    @classmethod
    def of(cls, cfg: Data) -> Layout:
        return cls(cfg.header, cfg.quoting, "data.")

    @classmethod
    def like(cls, cfg: DictConfig, header: bool | None, quoting: Quoting | None) -> Layout:
        """That of another file than a run was trained on.

        Args:
            cfg: of the run.
            header: other than in training; None: as in training.
            quoting: the same.
        """
        return cls(cfg.data.header if header is None else header, quoting or cfg.data.quoting)


@dataclass(frozen=True)
class Content:
    """One file, not read yet.

    Args:
        columns: their names, each once; None where each row has its own.
        rows: in their order.
        unit: what a row number counts.
        repeated: names that the file gives to several columns, and to how many.
    """

    columns: list[str] | None
    rows: Iterator[Row]
    unit: str = "line"
    repeated: Mapping[str, int] = field(default_factory=dict)


def name_columns(path: Path, given: Sequence[str], layout: Layout) -> tuple[list[str], dict[str, int]]:
    """Names for the columns of a file, each once. As in pandas, a column without a name is called `Unnamed: 0` by its
    place, counted from 0, and others of the same name `name.1`, `name.2`, …

    Args:
        path: of the file.
        given: its first row.
        layout: which says whether this row has the names.

    Returns:
        The names, and how often those are given that are given more than once.

    Raises:
        UserError: there are no names, or too many columns.
    """
    if len(given) > MOST_COLUMNS:
        raise UserError(
            f"A table may have at most {MOST_COLUMNS:,} columns; {path} has {len(given):,}.\n"
            "Is it another kind of file with this ending?"
        )
    if not layout.header:
        return [str(place) for place in range(len(given))], {}
    if not any(given):
        raise UserError(
            f"The first row of {path} must name the columns; it is blank.\nWrite their names above the rows."
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
