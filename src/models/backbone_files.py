"""Which files a backbone was read from: a run that keeps only what it trained needs the same ones again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from src.datamodules.tokenizing import tokenizer_state
from src.errors import UserError
from src.files.digests import cached_sha256
from src.models.backbones import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Part = Literal["config", "tokenizer", "weights"]


CONFIG = "config.json"


# The patterns of each part's files. Of weights there may be several kinds; transformers reads the first.
FILES: dict[Part, tuple[tuple[str, ...], ...]] = {
    "config": ((CONFIG,),),
    "tokenizer": (
        ("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    ),
    "weights": (
        ("model.safetensors",),
        ("model.safetensors.index.json", "model-*-of-*.safetensors"),
        ("pytorch_model.bin",),
        ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
    ),
}


COMMIT = re.compile(r"[0-9a-f]{40}")


Record = dict[str, Any]


def record(source: Source, tokenizer: PreTrainedTokenizerBase) -> Record | None:
    """What result.json says of a backbone: the SHA-256 of its `files` by name, of what decides how its `tokenizer` cuts
    a text, and the `revision` of one from the hub. None for one that was made.

    Args:
        source: where it was read from.
        tokenizer: that was read from there.
    """
    if source.folder is None:
        return None
    files = {file.name: cached_sha256(file) for part in get_args(Part) for file in _present(source.folder, part)}
    return {"files": files, "tokenizer": fingerprint(tokenizer), "revision": _revision(source.folder)}


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """The same for tokenizers that cut every text in the same way, whatever their files look like."""
    return hashlib.sha256(tokenizer_state(tokenizer).encode()).hexdigest()[:12]


def check(source: Source, known: Mapping[str, Any] | None, run: Path, parts: Iterable[Part]) -> None:
    """
    Args:
        source: the backbone as it is now.
        known: what the run's result says of it; None where it was made, or by older versions.
        run: the folder of the run.
        parts: those that must be as they were.

    Raises:
        UserError: a file is not what the run was trained with.
    """
    if source.folder is None or known is None:
        return
    if changed := [line for part in parts for line in _changed(source.folder, known, part)]:
        raise UserError(
            f"The backbone of {run} must be what it was trained with; in {source.folder} {', '.join(changed)}.\n"
            "Put back the files as they were (result.json of the run has their SHA-256), or train the run again."
        )


def _changed(folder: Path, known: Mapping[str, Any], part: Part) -> list[str]:
    files = {name: digest for name, digest in known["files"].items() if _part(name) == part}
    found = [f"{name} {how}" for name, digest in files.items() if (how := _difference(folder / name, digest))]
    # The cache of the hub may get more files of the same revision, which mean the same.
    if known.get("revision") is None or known["revision"] != _revision(folder):
        found += [f"{file.name} is new" for file in _present(folder, part) if file.name not in files]
    return found


def _difference(file: Path, digest: str) -> str:
    if not file.is_file():
        return "is missing"
    try:
        return "" if cached_sha256(file) == digest else "is another"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _present(folder: Path, part: Part) -> list[Path]:
    """The files of a part that are read."""
    groups = (sorted({f for p in patterns for f in folder.glob(p) if f.is_file()}) for patterns in FILES[part])
    return next((found for found in groups if found), [])


def _part(name: str) -> Part | None:
    named = ((part, pattern) for part, groups in FILES.items() for patterns in groups for pattern in patterns)
    return next((part for part, pattern in named if Path(name).match(pattern)), None)


def _revision(folder: Path) -> str | None:
    """The commit that a folder of the hub's cache has; None elsewhere."""
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else None
