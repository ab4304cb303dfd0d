"""Reads text files with delimiters: commas, tabs, semicolons or bars."""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from src.config.text_files import TAB, delimiter_override
from src.errors import UserError, listed
from src.tables.content import LARGEST_FIELD, Content, Layout, Row, name_columns
from src.tables.lines import read_lines

log = logging.getLogger(__name__)

OTHERS = (";", TAB, "|")  # delimiters of a .csv besides the comma


EXCEL = re.compile(r'"?sep=(\t|[^\w\s"])"?\n?', re.IGNORECASE)  # a first line that names the delimiter


MOST_NAMED = 3  # rows in a warning


QUOTED = re.compile(r'"[^"]*("|$)')


Record = tuple[int, list[str]]  # the line on which it begins, and its fields


def read_csv(path: Path, layout: Layout) -> Content:
    lines = read_lines(path, layout)
    first = next(lines, "")
    named = EXCEL.fullmatch(first)
    if named:
        return _content(path, layout, lines, layout.delimiter or named[1], line=2)
    delimiter = layout.delimiter or _delimiter(first)
    if not layout.delimiter and delimiter != ",":
        log.info("%s: the first line has no comma, so the delimiter is %r", path, delimiter)
    return _content(path, layout, itertools.chain([first], lines), delimiter)


def read_tsv(path: Path, layout: Layout) -> Content:
    return _content(path, layout, read_lines(path, layout), layout.delimiter or TAB)


def _delimiter(line: str) -> str:
    """Returns the delimiter of a line: a comma, or if there is none outside of quotes, the most frequent other one."""
    plain = QUOTED.sub("", line)
    found = {mark: plain.count(mark) for mark in OTHERS if mark in plain}
    return "," if "," in plain or not found else max(found, key=lambda mark: found[mark])


def _content(path: Path, layout: Layout, lines: Iterator[str], delimiter: str, line: int = 1) -> Content:
    """
    Args:
        path: of the file.
        layout: of the file.
        lines: from its first row on.
        delimiter: between its columns.
        line: the number of its first row.
    """
    records = _Records(path, layout, lines, delimiter, line)
    found = iter(records)
    first = next((r for r in found if r[1] or layout.header), (line, []))
    columns, repeated = name_columns(path, [name.strip() for name in first[1]], layout)

    def rows() -> Iterator[Row]:
        for number, record in found if layout.header else itertools.chain([first], found):
            if record and len(record) != len(columns):
                raise records.ragged(len(columns), len(record))
            yield number, dict(zip(columns, record, strict=False))

    return Content(columns, rows(), repeated=repeated)


class _Records:
    """The rows of a file, which span several lines where a quoted field does.

    Some files are written without quoting, so that a quote is part of a text and everything up to the next quote would
    be read as one field. A row is ambiguous if each of its lines would be a row too, with as many delimiters as the
    first row. In a tab-separated file, where texts hardly contain tabs, this is an error; elsewhere a warning.
    """

    def __init__(self, path: Path, layout: Layout, lines: Iterable[str], delimiter: str, line: int) -> None:
        self.path, self.layout, self.delimiter = path, layout, delimiter
        self.lines, self.line = lines, line
        self.taken: list[str] = []  # lines of the current row, which begins on `line`
        self.marks: int | None = None  # delimiters in the first row
        self.doubtful: list[str] = []  # lines of rows

    def __iter__(self) -> Iterator[Record]:
        csv.field_size_limit(LARGEST_FIELD)
        reader = csv.reader(
            self._remembered(),
            delimiter=self.delimiter,
            strict=True,
            quoting=csv.QUOTE_NONE if self.layout.quoting == "none" else csv.QUOTE_MINIMAL,
        )
        try:
            for record in reader:
                self._check_lines()
                yield self.line, record
                self.line += len(self.taken)
                self.taken.clear()
        except csv.Error as error:
            since = f", in quotes since line {self.line}" if len(self.taken) > 1 else ""
            raise UserError(
                f"{self.path} must be a well-formed table; line {self._last}: "
                f"{str(error).replace(TAB, '<tab>')}{since}.\n"
                f"Is a quote left open, or is it another file format? {self._no_quotes}"
            ) from None
        self._tell_doubts()

    def _remembered(self) -> Iterator[str]:
        for line in self.lines:
            self.taken.append(line)
            yield line

    def _tell_doubts(self) -> None:
        if self.doubtful:
            log.warning(
                "%s: lines %s are read as one row each because of quotes, but each line could be a row. %s",
                self.path,
                listed(self.doubtful[:MOST_NAMED]) + (", …" if len(self.doubtful) > MOST_NAMED else ""),
                self._no_quotes,
            )

    def _check_lines(self) -> None:
        """
        Raises:
            UserError: the current row could also be several rows.
        """
        if self.marks is None:
            self.marks = self.taken[0].count(self.delimiter)
        if len(self.taken) == 1 or self.layout.quoting != "auto":
            return
        if any(line.count(self.delimiter) != self.marks for line in self.taken if line.strip()):
            return
        if self.delimiter != TAB:
            self.doubtful.append(f"{self.line} to {self._last}")
            return
        raise UserError(
            f"Row ends must be unambiguous; in {self.path} a quote opens on line {self.line} and closes on line "
            f"{self._last}, but each of these lines could be a row.\n"
            f"{self._no_quotes} If lines {self.line} to {self._last} are one row: "
            f"{self.layout.section}quoting=standard"
        )

    def ragged(self, columns: int, fields: int) -> UserError:
        """Returns the error for a row with the wrong number of fields.

        Args:
            columns: of the file.
            fields: of the row.
        """
        fix = "Put fields that contain the delimiter or quotes between double quotes."
        if self.layout.quoting == "none":
            fix = f"Remove {self.delimiter!r} from the texts."
        elif len(self.taken) > 1:
            fix += f" {self._no_quotes}"
        elif fields == 1 and (other := next((m for m in OTHERS if m in self.taken[0] and m != self.delimiter), None)):
            fix += f" If {other!r} is the delimiter: {delimiter_override(other, self.layout.section)}"
        elif columns == 1:
            fix += f" If the columns have another delimiter: {self.layout.section}delimiter=…"
        until = f", since a quote extends to line {self._last}" if len(self.taken) > 1 else ""
        return UserError(
            f"Every row of {self.path} must have the {'header' if self.layout.header else 'first row'}'s "
            f"{columns} fields; line {self.line} has {fields}{until}.\n{fix}"
        )

    @property
    def _last(self) -> int:
        """The number of the last line of the current row."""
        return self.line + len(self.taken) - 1

    @property
    def _no_quotes(self) -> str:
        return f"If quotes are part of the texts: {self.layout.section}quoting=none."
