"""Texts to token ids, once: cached on disk by content, tokenised in parallel by the tokenizer's own threads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.data.batching import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TEXTS_A_CALL = 4_096


def tokenize(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int, cache: Path, name: str
) -> Ragged:
    """The token ids of every text, special tokens included, cut at `max_length` tokens.

    Args:
        texts: of one split.
        tokenizer: the backbone's.
        max_length: in tokens.
        cache: a folder for the result; a later call with the same texts, tokenizer and length reads it back.
        name: what the progress bar says is tokenised.
    """
    import pyarrow
    from datasets import Dataset, disable_progress_bars, enable_progress_bars

    key = fingerprint(texts, tokenizer, max_length)
    file = _cache_file(cache / "tokens", key)

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        return {"ids": token_ids(batch["text"], tokenizer, max_length)}

    short = len(texts) < 10 * TEXTS_A_CALL
    (disable_progress_bars if short else enable_progress_bars)()

    def encode_all(file: Path | None) -> Dataset:
        return Dataset.from_dict({"text": list(texts)}).map(
            encode,
            batched=True,
            batch_size=TEXTS_A_CALL,
            remove_columns=["text"],
            desc=f"Tokenising {name}",
            cache_file_name=str(file) if file else None,
            keep_in_memory=not file,
            new_fingerprint=key,
        )

    try:
        try:
            encoded = encode_all(file)
        except pyarrow.ArrowInvalid:
            if not (file and file.exists()):
                raise
            log.warning("%s is damaged; the texts are tokenised again.", file)
            file.unlink()
            encoded = encode_all(file)
    except OSError as error:
        log.warning("%s cannot be written (%s); tokens are kept in memory.", file, error.strerror or error)
        encoded = encode_all(None)
    column = encoded.data.column("ids").combine_chunks()
    lists = column.chunk(0) if hasattr(column, "chunk") else column
    return Ragged(np.asarray(lists.flatten()).astype(np.int32), np.asarray(lists.value_lengths()).astype(np.int64))


def token_ids(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[list[int]]:
    """The token ids of each text, special tokens included, cut at `max_length` tokens."""
    # The tokenizer is written in Rust and uses all cores by itself; processes on top would only slow it down.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    options: dict[str, Any] = {"return_attention_mask": False, "return_token_type_ids": False}
    found: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_length, **options)["input_ids"]
    return found


def _cache_file(folder: Path, key: str) -> Path | None:
    """Where the tokens of this key are or will be; None if they are not there and the folder cannot be written."""
    file = folder / f"{key}.arrow"
    if not file.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            log.warning("%s cannot be written (%s); tokens are kept in memory.", folder, error.strerror)
            return None
    return file


def fingerprint(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> str:
    """A key of content: the same texts, tokenizer and length give the same key, and nothing else does."""
    digest = hashlib.sha256(json.dumps([max_length, tokenizer_state(tokenizer)]).encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:32]


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    """Everything that decides what a tokenizer makes of a text; padding and truncation are set by each call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps([repr(tokenizer), sorted(tokenizer.get_vocab().items())])
    state = json.loads(backend.to_str())
    return json.dumps({k: v for k, v in state.items() if k not in ("padding", "truncation")}, sort_keys=True)
