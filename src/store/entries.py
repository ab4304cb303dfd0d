"""The stores in a cache folder, as `python -m src.activations list` shows them."""

from __future__ import annotations

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
        size = sum(f.stat().st_blocks * 512 for f in folder.iterdir())
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            key, shape = manifest["key"], manifest["shape"]
            what = f"{key['backbone']}, {key['what']}, {shape['vectors']:,} x {shape['width']} {key['dtype']}"
            used = (folder / "manifest.json").stat().st_mtime
            found.append(Entry(folder, what, size, float(manifest["created"]), used))
        except (OSError, *DAMAGED):
            found.append(Entry(folder, "unfinished", size, None, folder.stat().st_mtime))
    return sorted(found, key=lambda e: -e.used)
