"""The reader of each file format. Errors name file and row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from src.tables.columnar import read_arrow, read_parquet
from src.tables.content import Content, Layout
from src.tables.delimited import read_csv, read_tsv
from src.tables.lines import read_lines
from src.tables.opening import PACKED, STDIN, packing_of
from src.tables.records import read_json
from src.tables.workbooks import read_workbook


def read_plain(path: Path, layout: Layout) -> Content:
    lines = ((number, line.removesuffix("\n")) for number, line in enumerate(read_lines(path, layout), start=1))
    return Content(["text"], ((number, {"text": line} if line.strip() else {}) for number, line in lines))


READERS: dict[str, Callable[[Path, Layout], Content]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json,
    ".json": read_json,
    ".xlsx": read_workbook,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".txt": read_plain,
}


BINARY = (".xlsx", ".parquet", ".arrow", ".feather")  # which are packed already


DELIMITED = (".csv", ".tsv")


# What the keys that say how files are written apply to.
LAYOUT: dict[str, tuple[str, ...]] = {
    "delimiter": DELIMITED,
    "quoting": DELIMITED,
    "header": (*DELIMITED, ".xlsx"),
    "encoding": tuple(kind for kind in READERS if kind not in BINARY),
}


HEADLESS = (".jsonl", ".json", ".txt")  # whose first line is a row


def kind_of(path: Path) -> str | None:
    """Returns the extension that decides how a file is read, without that of its compression; None if it cannot be
    read."""
    if path == STDIN:
        return ".jsonl"
    packed = bool(packing_of(path))
    kind = Path(path.stem if packed else path.name).suffix.lower()
    return kind if kind in READERS and not (packed and kind in BINARY) else None


def kinds() -> str:
    """Returns the extensions of the files that can be read."""
    return f"{', '.join(READERS)}, or a text file compressed as {' or '.join(PACKED)}"


def stem(path: Path) -> str:
    """Returns the name of a file without its extensions."""
    name = path.name
    for ending in (packing_of(path), kind_of(path) or ""):
        name = name[: len(name) - len(ending)] if ending and name.lower().endswith(ending) else name
    return name
