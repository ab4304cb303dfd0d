"""What the hub of the tests holds: repositories with commits, branches and tags, and who may read them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGE = (".safetensors", ".bin", ".parquet", ".onnx")  # files that the hub keeps outside of git
READER, WRITER, MEMBER = "hf_reader", "hf_writer", "hf_member"  # tokens; a member may read gated repositories
TOKENS = (READER, WRITER, MEMBER)

Files = Mapping[str, bytes]


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it: its name in git, and the SHA-256 of a large one."""
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    found["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if path.endswith(LARGE):
        found["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return found


def etag(path: str, content: bytes) -> str:
    listed = entry(path, content)
    return str(listed["lfs"]["oid"] if "lfs" in listed else listed["oid"])


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # branches and tags

    def commit(self, files: Files, *refs: str) -> str:
        """Adds a commit of these files, which the branches and tags then point to; main unless told otherwise."""
        content = "".join(f"{path} {sha256(files[path])}\n" for path in sorted(files))
        sha = hashlib.sha1(f"{len(self.commits)} {content}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs |= dict.fromkeys(refs or ("main",), sha)
        return sha

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)

    @property
    def head(self) -> Files:
        return self.commits[self.refs["main"]] if "main" in self.refs else {}
