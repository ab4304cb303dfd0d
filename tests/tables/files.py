"""Data files made in memory, sound and broken ones: tables, workbooks, archives, Parquet files, data sets."""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
from openpyxl import Workbook

ROWS = [(f"text number {i}", ("no", "maybe", "yes")[i % 3]) for i in range(30)]
TABLE = pyarrow.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
SHEET = "xl/worksheets/sheet1.xml"
BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
)


def labels(*values: Any) -> bytes:
    """Rows whose labels are these, in turn."""
    return jsonl((f"text {i}", values[i % len(values)]) for i in range(30))


def csv(rows: Iterable[tuple[str, str]] = ROWS, header: str = "text,label") -> bytes:
    return "\n".join([header, *(f"{text},{label}" for text, label in rows), ""]).encode()


def jsonl(rows: Iterable[tuple[Any, Any]] = ROWS) -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


def json_list(rows: Iterable[tuple[Any, Any]] = ROWS) -> bytes:
    return json.dumps([{"text": text, "label": label} for text, label in rows], indent=1).encode()


def xlsx(rows: Iterable[tuple[Any, ...]] = ROWS, change: Callable[[Any], Any] = lambda book: None) -> bytes:
    """A workbook, changed before it is saved."""
    book, content = Workbook(), io.BytesIO()
    for row in [("text", "label"), *rows]:
        book.active.append(row)
    change(book)
    book.save(content)
    return content.getvalue()


@functools.cache
def entries() -> dict[str, bytes]:
    """The files in a workbook."""
    with zipfile.ZipFile(io.BytesIO(xlsx())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def replaced(name: str, content: bytes) -> bytes:
    """A workbook with another content of one of its files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in (entries() | {name: content}).items():
            archive.writestr(entry, data)
    return made.getvalue()


def rewritten(name: str, old: bytes, new: bytes) -> bytes:
    """A workbook with other bytes in one of its files, where a pattern is found."""
    changed = re.sub(old, new, entries()[name], count=1)
    assert changed != entries()[name]
    return replaced(name, changed)


def entity_bomb() -> bytes:
    """Ten billion letters, if anyone writes them out."""
    return rewritten(SHEET, b"<worksheet", BOMB + b"<worksheet")


def zip_bomb(size: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(SHEET, "w") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return content.getvalue()


def said_to_hold(size: int, content: bytes) -> bytes:
    """An archive whose table of contents says of its last file that it unpacks to so many bytes."""
    changed, at = bytearray(content), content.rindex(b"PK\x01\x02")
    changed[at + 24 : at + 28] = size.to_bytes(4, "little")
    return bytes(changed)


def large_archive() -> bytes:
    """One that is large enough itself for the ratio not to matter."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("noise", os.urandom(2 << 20))
        archive.writestr(SHEET, b"")
    return said_to_hold(300 << 20, content.getvalue())


def only_a_chart(book: Any) -> None:
    book.create_chartsheet("chart")
    book.remove(book.active)


def parquet(**columns: Any) -> bytes:
    content = io.BytesIO()
    given = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    pyarrow.parquet.write_table(pyarrow.table({**given, **columns}), content)
    return content.getvalue()


def arrow(table: pyarrow.Table = TABLE, stream: bool = False) -> bytes:
    content = io.BytesIO()
    with (pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file)(content, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=7):
            writer.write_batch(batch)
    return content.getvalue()


def not_utf8() -> bytes:
    """A column that says it is UTF-8 and is not."""
    strings = pyarrow.array([b"\xff\xfe"] * len(ROWS), pyarrow.binary())
    return parquet(text=pyarrow.Array.from_buffers(pyarrow.string(), len(ROWS), strings.buffers()))


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def folder(**files: bytes) -> Callable[[Path], None]:
    """Makes a folder with files; `__` in a name stands for the point."""
    return tree({name.replace("__", "."): content for name, content in files.items()})


def zstandard(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return bytes(sink.getvalue())


def tree(files: Mapping[str, bytes]) -> Callable[[Path], None]:
    """Makes a folder with files, some of which may be in folders of their own."""

    def make(path: Path) -> None:
        path.mkdir(exist_ok=True)
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)

    return make


def saved_dataset(**files: object) -> Callable[[Path], None]:
    """Makes what looks like a folder of `datasets`."""
    return folder(**{f"{name}__json": json.dumps(content).encode() for name, content in files.items()})


def link_to(target: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.symlink_to(target)

    return make


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unreadable(path: Path) -> None:
    path.write_bytes(csv())
    path.chmod(0)


def put(path: Path, content: Any) -> Path:
    """Puts something at a path: bytes, the bytes that a function gives, or what a function makes there itself."""
    if callable(content):
        content = content(path) if inspect.signature(content).parameters.keys() == {"path"} else content()
    if isinstance(content, bytes):
        path.write_bytes(content)
    return path
