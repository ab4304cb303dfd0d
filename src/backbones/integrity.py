"""Checksums of a backbone's files: a checkpoint that holds only trained weights needs the same backbone again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from src.backbones.source import Source
from src.datamodules.tokenizing import tokenizer_state
from src.errors import UserError
from src.files.digests import cached_sha256
from src.files.hub import commit_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Part = Literal["config", "tokenizer", "weights"]


CONFIG = "config.json"


# File patterns of each part. Weights can be in several formats; transformers reads the first that is present.
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


Record = dict[str, Any]


def record(source: Source, tokenizer: PreTrainedTokenizerBase) -> Record | None:
    """Returns what result.json records of a backbone: the SHA-256 of its `files` by name, the fingerprint of its
    `tokenizer`, and its `revision` if it is from the hub. None for a backbone with random weights.

    Args:
        source: the backbone's files.
        tokenizer: loaded from these files.
    """
    if source.folder is None:
        return None
    files = {file.name: cached_sha256(file) for part in get_args(Part) for file in _present(source.folder, part)}
    return {"files": files, "tokenizer": fingerprint(tokenizer), "revision": commit_of(source.folder)}


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns a hash that is equal for tokenizers that tokenise every text alike, whatever their files look like."""
    return hashlib.sha256(tokenizer_state(tokenizer).encode()).hexdigest()[:12]


def check(source: Source, known: Mapping[str, Any] | None, run: Path, parts: Iterable[Part]) -> None:
    """Checks that a backbone's files are those that a run was trained with.

    Args:
        source: the backbone as it is now.
        known: its record in the run's result; None for random weights and for results of older versions.
        run: the folder of the run.
        parts: which parts must be unchanged.

    Raises:
        UserError: a file differs from the one that the run was trained with.
    """
    if source.folder is None or known is None:
        return
    if changed := [line for part in parts for line in _changed(source.folder, known, part)]:
        raise UserError(
            f"The backbone of {run} must be the one it was trained with; in {source.folder} {', '.join(changed)}.\n"
            "Restore the original files (result.json of the run has their SHA-256), or train the run again."
        )


def _changed(folder: Path, known: Mapping[str, Any], part: Part) -> list[str]:
    files = {name: digest for name, digest in known["files"].items() if _part(name) == part}
    found = [f"{name} {how}" for name, digest in files.items() if (how := _difference(folder / name, digest))]
    # More files of the same revision may be downloaded into the hub's cache later; they change nothing.
    if known.get("revision") is None or known["revision"] != commit_of(folder):
        found += [f"{file.name} is new" for file in _present(folder, part) if file.name not in files]
    return found


def _difference(file: Path, digest: str) -> str:
    if not file.is_file():
        return "is missing"
    try:
        return "" if cached_sha256(file) == digest else "has changed"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _present(folder: Path, part: Part) -> list[Path]:
    """Returns the files of a part that transformers reads."""
    groups = (sorted({f for p in patterns for f in folder.glob(p) if f.is_file()}) for patterns in FILES[part])
    return next((found for found in groups if found), [])


def _part(name: str) -> Part | None:
    named = ((part, pattern) for part, groups in FILES.items() for patterns in groups for pattern in patterns)
    return next((part for part, pattern in named if Path(name).match(pattern)), None)
