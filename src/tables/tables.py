"""Reads a file as a table of columns with row numbers; as a whole or in parts."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.config.text_files import delimiter_override
from src.errors import UserError, listed, nearest
from src.tables.content import LARGEST_FIELD, Content, Layout, Row
from src.tables.gathering import gathered
from src.tables.opening import STDIN, name_of
from src.tables.patterns import matched
from src.tables.reading import HEADLESS, READERS, kind_of, kinds

HALF = re.compile("[\ud800-\udfff]")  # of a character that takes two 16-bit units


MOST_WORDS = 4  # in the name of a column


LAYOUT = Layout()


@dataclass(frozen=True)
class Table:
    """The columns of one file, or of several that are one split, and for each row the number by which its author finds
    it; of several files these numbers go on from one to the next.

    Args:
        source: the file, or what it is a part of.
        columns: each with a value for every row.
        rows: their numbers.
        unit: what a row number counts.
        repeated: names that the file gives to several columns, and to how many.
        files: of several files each with the index of its first row and what is added to its row numbers.
        remedy: what else can be done about rows that cannot be used, as a sentence.
    """

    source: str
    columns: dict[str, list[Any]]
    rows: list[int]
    unit: str = "line"
    repeated: Mapping[str, int] = field(default_factory=dict)
    files: Sequence[tuple[str, int, int]] = ()
    remedy: str = ""

    def column(self, name: str, key: str, form: str = "…") -> list[Any]:
        """The values of a column.

        Args:
            name: of the column.
            key: the config key that named it, for messages.
            form: of the value of this key.

        Raises:
            UserError: there is no such column, or several.
        """
        if name in self.repeated:
            raise UserError(
                f"{key} must name one column of {self.source}; {name!r} occurs {self.repeated[name]} times.\n"
                "Rename one of them."
            )
        if name in self.columns:
            return self.columns[name]
        raise UserError(
            f"{key} must name a column of {self.source}; got {name!r}.\n{self._hint(name, key, form)}{self.remedy}"
        )

    def _hint(self, name: str, key: str, form: str) -> str:
        names = list(self.columns)
        section = "data." if key.startswith("data.") else ""
        if len(names) == 1 and (mark := next((m for m in ";\t|," if m in names[0]), None)):
            return f"The delimiter seems to be {mark!r}: {delimiter_override(mark, section)}"
        hint = f"{nearest(repr(name), map(repr, names))} Name {'one' if form == '…' else 'all'}: {key}={form}"
        numbered = names == [str(place) for place in range(len(names))]
        if numbered and name in (values[0] for values in self.columns.values()):
            return f"{hint}\nThe first row has it; if that row is a header: {section}header=true"
        if not numbered and any(_is_no_name(found) or found in values for found, values in self.columns.items()):
            return f"{hint}\nDoes the file have no header? {section}header=false calls the columns 0, 1, …"
        return hint

    def texts(self, name: str, key: str, form: str = "…") -> list[str]:
        """The values of a column as texts; where a row has none (null or NaN), an empty one.

        Raises:
            UserError: there is no such column, or a row has something there that is no text.
        """
        values = self.column(name, key, form)
        self.refuse(
            [i for i, value in enumerate(values) if isinstance(value, list | dict | bytes)],
            f"a list, an object or bytes for a text in column {name!r}",
            "Turn them into texts.",
        )
        texts = ["" if value is None or value != value else str(value) for value in values]
        self.refuse(
            [i for i, text in enumerate(texts) if len(text) > LARGEST_FIELD],
            f"more than {LARGEST_FIELD:,} characters in column {name!r}",
            "Is it several texts in one?",
        )
        halves = [i for i, text in enumerate(texts) if not text.isascii() and HALF.search(text)]
        self.refuse(halves, f"half of a character, a lone surrogate, in column {name!r}", "Write the whole character.")
        return texts

    def refuse(self, indices: Sequence[int], problem: str, fix: str = "Fill them in or delete them.") -> None:
        """
        Args:
            indices: of rows that cannot be used, in order; with none nothing happens.
            problem: what they have.
            fix: what the user can do.

        Raises:
            UserError: there is such a row.
        """
        if not indices:
            return
        source, added, end = self._file_of(indices[0])
        within = [i for i in indices if i < end]
        shown = ", ".join(str(self.rows[i] - added) for i in within[:5]) + (", …" if len(within) > 5 else "")
        count = f"{len(within)} rows" if len(within) > 1 else "1 row"
        raise UserError(
            f"Every row must be usable; {source} has {count} with {problem}: {self.unit} {shown}.\n{fix}{self.remedy}"
        )

    def head(self, count: int) -> Table:
        """The first rows."""
        columns = {name: values[:count] for name, values in self.columns.items()}
        return dataclasses.replace(self, columns=columns, rows=self.rows[:count])

    def place(self, index: int) -> str:
        """Returns where a row is, such as `train.csv line 3`."""
        source, added, _ = self._file_of(index)
        return f"{source} {self.unit} {self.rows[index] - added}"

    def places(self, indices: Sequence[int]) -> list[str]:
        """Returns the numbers of rows; of several files, with the file of each, such as `3 of b.csv`."""
        if not self.files:
            return [str(self.rows[i]) for i in indices]
        files = ((i, *self._file_of(i)) for i in indices)
        return [f"{self.rows[i] - added} of {source}" for i, source, added, _ in files]

    def _file_of(self, index: int) -> tuple[str, int, int]:
        """The file that has a row, what is added to its row numbers, and the index of the first row behind it."""
        number = bisect.bisect_right(self.files, index, key=lambda file: file[1])
        source, _, added = self.files[number - 1] if self.files else (self.source, 0, 0)
        return source, added, self.files[number][1] if number < len(self.files) else len(self.rows)


def _is_no_name(name: str) -> bool:
    """Whether what stands in the first row is more likely a number or a text than the name of a column."""
    return len(name.split()) > MOST_WORDS or name.replace(".", "", 1).isdecimal()


def join(tables: Sequence[Table], source: str) -> Table:
    """Several tables with the same columns as one; where a table lacks a column, its rows have nothing there.

    Args:
        tables: of files.
        source: what the files are parts of.
    """
    rows: list[int] = []
    files: list[tuple[str, int, int]] = []
    for table in tables:
        added = rows[-1] if rows else 0
        parts = table.files or [(table.source, 0, 0)]
        files += [(source, len(rows) + begin, added + before) for source, begin, before in parts]
        rows += [number + added for number in table.rows]
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns = {
        name: [value for table in tables for value in table.columns.get(name, [None] * len(table.rows))]
        for name in names
    }
    repeated = {name: count for table in tables for name, count in table.repeated.items()}
    return Table(source, columns, rows, tables[0].unit, repeated, files)


def read_table(path: Path, layout: Layout = LAYOUT) -> Table:
    """One file as a table; blank rows are left out.

    Raises:
        UserError: the file's kind is not known, or its content is not of that kind, or it holds no rows.
    """
    content = _open(path, layout)
    table = _table(path, content, ((number, values) for number, values in _readable(path, content.rows) if values))
    if not table.rows:
        named = content.columns and kind_of(path) not in HEADLESS and layout.header
        what = (
            f"a header ({listed(content.columns or ())}) and nothing below"
            if named
            else f"nothing but blank {content.unit}s"
        )
        raise UserError(f"{path} must hold rows; it has {what}.\nIs it the right file?")
    return table


def stream_tables(path: Path, size: int, layout: Layout = LAYOUT) -> Iterator[Table]:
    """The files that a path stands for, one after the other, as tables of at most so many rows, of which only one is in
    memory. Blank rows are kept; they have no values.

    Raises:
        UserError: as `read_table`, as soon as the problem is met.
    """
    files = matched(path, "input")
    for file in files:
        for table in _stream(file, size, layout):
            several = [(table.source, 0, 0)] if len(files) > 1 else ()
            yield dataclasses.replace(table, files=several)


def first_rows(path: Path, count: int, layout: Layout = LAYOUT) -> Table:
    """The first rows of the files that a path stands for, blank ones among them.

    Raises:
        UserError: as `read_table`.
    """
    found, missing = [], count
    for table in stream_tables(path, count, layout):
        found.append(table if len(table.rows) <= missing else table.head(missing))
        missing -= len(found[-1].rows)
        if not missing:
            break
    return found[0] if len(found) == 1 else join(found, str(path))


def _stream(path: Path, size: int, layout: Layout) -> Iterator[Table]:
    content = _open(path, layout)
    found = _readable(path, content.rows)
    empty = True
    while (part := _table(path, content, itertools.islice(found, size))).rows:
        empty = False
        yield part
        content = dataclasses.replace(content, columns=[*part.columns])  # which later rows of JSON may all lack
    if empty:
        raise UserError(f"{name_of(path)} must hold rows; it has none.\nIs it the right file?")


def _open(path: Path, layout: Layout) -> Content:
    if path != STDIN and path.is_dir():
        raise UserError(f"{path} must be a file; it is a folder.\nName a file in it.")
    kind = kind_of(path)
    if kind is None:
        raise UserError(
            f"{path} must be one of {kinds()}; it ends with {path.suffix or 'nothing'}.\nSave it as one of these."
        )
    try:
        if path != STDIN and path.stat().st_size == 0:
            what = "lines" if kind in HEADLESS else "a header and rows"
            raise UserError(f"{path} must hold {what}; it is empty.\nIs it the right file?")
        return READERS[kind](path, layout)
    except OSError as error:
        raise _unreadable(path, error) from None


def _readable(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {error.strerror or error}.\nCheck the file and its permissions.")


def _table(path: Path, content: Content, rows: Iterable[Row]) -> Table:
    columns, numbers = gathered(name_of(path), content.unit, content.columns or (), rows)
    return Table(name_of(path), columns, numbers, content.unit, content.repeated)
