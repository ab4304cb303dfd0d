"""Reads Excel workbooks. These are ZIP archives of XML files, and a hostile one could unpack without end."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.tables.content import Content, Layout, Row, name_columns
from src.tables.opening import CHUNK, LARGEST_RATIO, SMALLEST

log = logging.getLogger(__name__)

LARGEST_BOOK = 1 << 27  # bytes that a workbook may unpack to


LARGEST_PART = 1 << 22  # bytes of what is in memory as a whole, where it takes a hundred times as much


MOST_PARTS = 1 << 21  # rows, or texts that cells share


END = re.compile(rb"</(?:\w+:)?(?:row|si)>")  # of a row of a sheet, and of a text that cells share


XML = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b" ", b"\t", b"\r", b"\n")  # what it can begin with


OTHERWISE = "If the data is really that large, save it as .parquet or .csv."


LAST_ROW = 1 << 20  # of a sheet in Excel


OLD_OR_ENCRYPTED = bytes.fromhex("d0cf11e0a1b11ae1")  # what .xls files and workbooks with a password begin with


def read_workbook(path: Path, layout: Layout) -> Content:
    """Reads the first sheet of a workbook; of formulas, the saved value.

    Raises:
        UserError: it is not a workbook, or a damaged or hostile one.
        OSError: it cannot be read.
    """
    _check_archive(path)
    found = enumerate(_records(path), start=1)
    first = next((r for r in found if layout.header or any(cell is not None for cell in r[1])), (1, ()))
    given = ["" if cell is None else str(cell).strip() for cell in first[1]]
    while given and not given[-1]:
        given.pop()
    columns, repeated = name_columns(path, given, layout)

    def rows() -> Iterator[Row]:
        for number, record in found if layout.header else itertools.chain([first], found):
            if not layout.header:
                _check_width(path, number, record, len(columns))
            cells = record[: len(columns)]
            if all(cell is None for cell in cells):
                yield number, {}
                continue
            filled = ("" if cell is None else cell for cell in cells)
            yield number, dict(itertools.zip_longest(columns, filled, fillvalue=""))

    return Content(columns, rows(), "row", repeated)


def _check_width(path: Path, number: int, record: Sequence[Any], width: int) -> None:
    if any(cell is not None for cell in record[width:]):
        raise UserError(
            f"Every row of {path} must have at most the first row's {width} cells; row {number} has more.\n"
            "Fill in the first row, or add a header."
        )


def _records(path: Path) -> Iterator[tuple[Any, ...]]:
    from openpyxl import load_workbook

    # It tells of all that it passes over, such as colours and drop-down lists.
    warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
    try:
        with (
            path.open("rb") as file,
            contextlib.closing(load_workbook(file, read_only=True, data_only=True)) as book,
        ):
            if not book.worksheets:
                raise UserError(f"{path} must hold a sheet with rows; it has none.\nSave it again.")
            if len(book.worksheets) > 1:
                names = ", ".join(repr(sheet.title) for sheet in book.worksheets)
                log.warning("%s has the sheets %s; only the first is read.", path, names)
            sheet = book.worksheets[0]
            # What the file says of its size may be wrong, and what lies beyond would be passed over.
            sheet.reset_dimensions()
            for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
                if number > LAST_ROW:
                    raise UserError(
                        f"A sheet has at most {LAST_ROW:,} rows; {path} numbers one higher.\nSave it again as .csv."
                    )
                yield row
    except UserError:
        raise
    except Exception as error:
        # Damaged workbooks raise anything, from KeyError to ParseError.
        raise UserError(
            f"{path} must be an Excel workbook; it cannot be read: {_reason(error)}.\nSave it again as .xlsx or .csv."
        ) from None


def _reason(error: BaseException) -> str:
    from defusedxml import DefusedXmlException

    while error.__context__ is not None:
        error = error.__context__
    if isinstance(error, DefusedXmlException):
        return "its XML declares entities, as an entity bomb does"
    return " ".join(f"{type(error).__name__} {error}".split())


def _check_archive(path: Path) -> None:
    """
    Raises:
        UserError: the file is no archive, or unpacks to more than a workbook does.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            size = path.stat().st_size
            if unpacked > LARGEST_BOOK or unpacked > LARGEST_RATIO * max(size, SMALLEST):
                raise UserError(
                    f"{path} must be a plain workbook of at most {LARGEST_BOOK:,} bytes; it unpacks from "
                    f"{size:,} to {unpacked:,} bytes, like a zip bomb.\n{OTHERWISE}"
                )
            for entry in archive.infolist():
                _check_part(path, archive, entry)
    except (OSError, UserError):
        raise
    except Exception:
        # Damaged archives raise anything, from BadZipFile to NotImplementedError.
        with path.open("rb") as file:
            begin = file.read(len(OLD_OR_ENCRYPTED))
        what = "it has a password or is an old .xls" if begin == OLD_OR_ENCRYPTED else "it is damaged or a renamed file"
        raise UserError(
            f"{path} must be an Excel workbook; it is not: {what}.\nSave it as .xlsx without a password, or as .csv."
        ) from None


def _check_part(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Rows and shared texts are read one after the other and all else as a whole: none of these may be large.

    Raises:
        UserError: one is.
    """
    length, longest, count = 0, 0, 0
    with archive.open(entry) as part:
        chunk = part.read(CHUNK)
        # By what it holds, since a sheet may have any name; pictures are not looked at.
        if not chunk.startswith(XML):
            return
        while chunk:
            ends = [found.end() for found in END.finditer(chunk)]
            end, count = ends[-1] if ends else 0, count + len(ends)
            longest = max(longest, length + (end or len(chunk)))
            length = len(chunk) - end if end else length + len(chunk)
            chunk = part.read(CHUNK)
    if longest > LARGEST_PART or count > MOST_PARTS:
        raise UserError(
            f"{path} must be a plain workbook, of at most {MOST_PARTS:,} rows and texts, each and all else of at most "
            f"{LARGEST_PART:,} bytes; {entry.filename} has more.\n{OTHERWISE}"
        )
