"""The SHA-256 of large files, remembered for as long as they are as they were."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from src.files.atomic import sha256, write_whole

LARGE = 10_000_000  # bytes; smaller files are read as quickly as looked up


MOST = 200  # files that are remembered


Entry = list[int | str]  # size, times of change and of status change in nanoseconds, inode, digest


def remembered_sha256(file: Path) -> str:
    """The SHA-256 of a file, read again only where its size, times or place on the disk have changed.

    Raises:
        OSError: it cannot be read.
    """
    about = _about(file)
    if int(about[0]) < LARGE:
        return sha256(file)
    key, known = str(file.resolve()), _read()
    if (found := known.get(key)) and found[:-1] == about:
        return str(found[-1])
    digest = sha256(file)
    if _about(file) == about:  # nobody has written to it meanwhile
        known.pop(key, None)
        _write({**known, key: [*about, digest]})
    return digest


def place() -> Path:
    """Where digests are remembered: in the user's cache, since paths mean the same to all of a user's projects."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thaw" / "sha256.json"


def _about(file: Path) -> Entry:
    found = file.stat()
    # The time of a status change is set by the system alone: files are copied with the others.
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read() -> dict[str, Entry]:
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, list) and len(entry) == 5}


def _write(known: dict[str, Entry]) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # without it, files are only read once more
        place().parent.mkdir(parents=True, exist_ok=True)
        write_whole(place(), json.dumps(dict(list(known.items())[-MOST:])))
