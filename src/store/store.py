"""The activation store on disk: hidden states without padding, with checksums and a lock.

A store is a folder named by a hash of everything its content depends on. `values.bin` is allocated at once and filled
in chunks; each finished chunk is a line of `journal.jsonl`; `manifest.json` is written last. A builder that dies leaves
a journal from which the next one continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from src.arrays import NDArray
from src.files.atomic import write_atomic

FORMAT = 1


RESERVE = 1 << 30  # bytes of free disk space that are kept in reserve


# What reading a damaged journal or manifest raises: half-written or changed by something else.
DAMAGED = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Shape:
    """The shape of a store: vectors (one per token, or one per pooled text) of `width` values, and their dtype.

    bfloat16 is stored as the bits of `uint16`, since numpy has no bfloat16.
    """

    vectors: int
    width: int
    dtype: str  # numpy's name

    @property
    def vector_bytes(self) -> int:
        return self.width * np.dtype(self.dtype).itemsize

    @property
    def bytes(self) -> int:
        return self.vectors * self.vector_bytes


class Mapped:
    """The vectors of a finished store, [vectors, width], memory-mapped and read on access.

    Pages that have been read count as memory of the process until they are released, which happens at once, so that the
    memory of a run does not grow with its store. They stay in the page cache of the system.

    Args:
        file: of the values.
        shape: of the store.
        columns: of each vector that are read; None: all of them.
    """

    def __init__(self, file: Path, shape: Shape, columns: slice | None = None) -> None:
        self.file, self.stored, self.columns = file, shape, columns
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_RANDOM)
        values = np.frombuffer(self._map, shape.dtype, count=shape.vectors * shape.width)
        self._values = values.reshape(shape.vectors, shape.width)[:, columns or slice(None)]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._values.dtype

    def __getitem__(self, vectors: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of these vectors."""
        found: NDArray[Any] = self._values[vectors]
        # Reading one address may map megabytes around it, so that giving back now and then is not enough.
        self._map.madvise(mmap.MADV_DONTNEED)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self.file, self.stored, self.columns)


class Store:
    """One store: filled with `locked`, `start`, `write_chunk` and `finish`, read through `Mapped`.

    Args:
        root: the cache folder.
        key: everything that the content depends on.
        shape: of the content.
        columns: of each vector that are wanted; None: all of them. With it, the store is only read.
    """

    def __init__(self, root: Path, key: dict[str, Any], shape: Shape, columns: slice | None = None) -> None:
        self.key, self.shape, self.columns = key, shape, columns
        self.folder = root / "activations" / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        self.values, self.journal = self.folder / "values.bin", self.folder / "journal.jsonl"
        self.manifest = self.folder / "manifest.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the builder's lock; other processes wait and then find the store finished. It ends with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            yield

    def is_intact(self) -> bool:
        """Whether the store is finished and the checksum of every chunk is right; only reads.

        Raises:
            OSError: the values cannot be read.
        """
        return self.is_finished() and sum(stop - start for start, stop in self._intact_chunks()) == self.shape.vectors

    def is_finished(self) -> bool:
        """Whether there is a manifest, with this format version, key and shape."""
        try:
            content = json.loads(self.manifest.read_text(encoding="utf-8"))
            described = (content["format"], content["key"], content["shape"])
        except (OSError, *DAMAGED):
            return False
        # Compare the key after a round trip through JSON, which turns tuples into lists.
        return described == (FORMAT, json.loads(json.dumps(self.key)), asdict(self.shape))

    def mark_used(self) -> None:
        """Sets the time of last use. It stays as it is in a cache that may only be read."""
        with contextlib.suppress(OSError):
            os.utime(self.manifest)

    def start(self) -> set[tuple[int, int]]:
        """Makes an unfinished store of what is there, which may be damaged, and allocates the file.

        Returns:
            The chunks (start and stop) that an earlier builder has finished and whose checksum is right.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        finished = self._intact_chunks()
        self.manifest.unlink(missing_ok=True)
        with self.values.open("ab") as file:
            # Without this, a full disk would kill the process later, when a page is written back.
            os.posix_fallocate(file.fileno(), 0, max(1, self.shape.bytes))
        self._rewrite_journal(finished)
        return set(finished)

    def write_chunk(self, start: int, values: NDArray[Any]) -> None:
        """Writes vectors from `start` on, and records them in the journal once they are safely on disk."""
        data = np.ascontiguousarray(values).tobytes()
        with self.values.open("r+b") as file:
            file.seek(start * self.shape.vector_bytes)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        entry = {"start": start, "stop": start + len(values), "crc32": zlib.crc32(data)}
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def finish(self) -> None:
        """Writes the manifest, which marks the store as complete."""
        content = {"format": FORMAT, "key": self.key, "shape": asdict(self.shape), "created": time.time()}
        write_atomic(self.manifest, json.dumps(content, indent=2))

    def discard(self) -> None:
        """Deletes the store."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def free_bytes(self) -> int:
        """Returns how many bytes of the disk a store may take, beyond the reserve: also those that it has, where an
        earlier builder has died."""
        place = next(p for p in (self.folder, *self.folder.parents) if p.exists())
        taken = self.values.stat().st_blocks * 512 if self.values.exists() else 0
        return shutil.disk_usage(place).free + taken - RESERVE

    def _intact_chunks(self) -> list[tuple[int, int]]:
        chunks: list[tuple[int, int]] = []
        if not (self.journal.exists() and self.values.exists()):
            return chunks
        with self.values.open("rb") as file:
            for line in self._journal_lines():
                with contextlib.suppress(*DAMAGED):
                    entry = json.loads(line)
                    start, stop = int(entry["start"]), int(entry["stop"])
                    if not 0 <= start < stop <= self.shape.vectors:
                        continue
                    file.seek(start * self.shape.vector_bytes)
                    data = file.read((stop - start) * self.shape.vector_bytes)
                    if zlib.crc32(data) == entry["crc32"] and (start, stop) not in chunks:
                        chunks.append((start, stop))
        return chunks

    def _journal_lines(self) -> list[str]:
        if not self.journal.exists():
            return []
        return self.journal.read_text(encoding="utf-8", errors="replace").splitlines()

    def _rewrite_journal(self, chunks: Sequence[tuple[int, int]]) -> None:
        kept = []
        for line in self._journal_lines():
            with contextlib.suppress(*DAMAGED):
                entry = json.loads(line)
                if (entry["start"], entry["stop"]) in chunks:
                    kept.append(line)
        write_atomic(self.journal, "".join(f"{line}\n" for line in dict.fromkeys(kept)))
