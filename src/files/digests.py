"""A cache of the SHA-256 of large files, valid as long as a file is unchanged."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from src.files.atomic import sha256, write_atomic

LARGE = 10_000_000  # bytes; smaller files are hashed as quickly as looked up


MOST = 200  # files in the cache


Entry = list[int | str]  # size, mtime and ctime in nanoseconds, inode, digest


def cached_sha256(file: Path) -> str:
    """Returns the SHA-256 of a file; it is computed again only where the file's size, times or inode have changed.

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
    if _about(file) == about:  # unchanged while it was read
        known.pop(key, None)
        _write({**known, key: [*about, digest]})
    return digest


def cache_file() -> Path:
    """Returns the path of the cache: in the user's cache folder, shared by all of the user's projects."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thaw" / "sha256.json"


def _about(file: Path) -> Entry:
    found = file.stat()
    # Unlike mtime, which is kept when a file is copied, ctime can only be set by the system.
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _read() -> dict[str, Entry]:
    try:
        found = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, list) and len(entry) == 5}


def _write(known: dict[str, Entry]) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # without the cache, files are only hashed again
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(cache_file(), json.dumps(dict(list(known.items())[-MOST:])))
