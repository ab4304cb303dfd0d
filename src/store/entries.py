"""The stores in a cache folder, as `python -m src.activations list` shows them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from src.store.store import DAMAGED


@dataclass(frozen=True)
class Entry:
    """One store in that list."""

    folder: Path
    what: str
    bytes: int
    created: float | None  # None: not finished
    used: float


def entries(root: Path) -> list[Entry]:
    """Returns all stores in a cache folder, the most recently used first."""
    found = []
    for folder in sorted((root / "activations").glob("*/")):
        with contextlib.suppress(FileNotFoundError):  # another process has deleted it meanwhile
            found.append(_entry(folder))
    return sorted(found, key=lambda e: -e.used)


def _entry(folder: Path) -> Entry:
    size = sum(map(_size, folder.iterdir()))
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        key, shape = manifest["key"], manifest["shape"]
        what = f"{key['backbone']}, {key['what']}, {shape['vectors']:,} x {shape['width']} {key['dtype']}"
        used = (folder / "manifest.json").stat().st_mtime
        return Entry(folder, what, size, float(manifest["created"]), used)
    except (OSError, *DAMAGED):
        return Entry(folder, "unfinished", size, None, folder.stat().st_mtime)


def _size(file: Path) -> int:
    """Returns what a file takes on the disk; nothing if it has just been renamed or deleted."""
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_blocks * 512
    return 0
