"""Tokenises texts once: cached on disk by content, parallel in the tokenizer's own threads."""

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
from numpy.typing import NDArray

from src.datamodules.batching import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TEXTS_PER_CALL = 4_096


FULL_LENGTH = "whole"  # the column with the lengths before truncation


class Tokens(Ragged):
    """The token ids of texts, special tokens included.

    Args:
        values: [tokens] ids.
        lengths: int64 [texts], in tokens.
        full_lengths: int64 [texts], in tokens, before truncation.
        starts: int64 [texts], where the ids of each text begin; None if the texts are in order.
    """

    values: NDArray[Any]

    def __init__(
        self,
        values: NDArray[Any],
        lengths: NDArray[np.int64],
        full_lengths: NDArray[np.int64],
        starts: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(values, lengths, starts)
        self.full_lengths = full_lengths

    def take(self, rows: NDArray[np.int64]) -> Tokens:
        return Tokens(self.values, self.lengths[rows], self.full_lengths[rows], self.starts[rows])


def tokenize(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int, cache: Path) -> Tokens:
    """Returns the token ids of every text, special tokens included, truncated at `max_length` tokens.

    Args:
        texts: of all splits.
        tokenizer: the backbone's.
        max_length: in tokens.
        cache: a folder for the result; a later call with the same texts, tokenizer and length reads it.
    """
    import pyarrow
    from datasets import Dataset, disable_progress_bars, enable_progress_bars

    key = fingerprint(texts, tokenizer, max_length)
    file = _cache_file(cache / "tokens", key)

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        return dict(zip(("ids", FULL_LENGTH), token_ids(batch["text"], tokenizer, max_length), strict=True))

    short = len(texts) < 10 * TEXTS_PER_CALL
    (disable_progress_bars if short else enable_progress_bars)()

    def encode_all(file: Path | None) -> Dataset:
        return Dataset.from_dict({"text": list(texts)}).map(
            encode,
            batched=True,
            batch_size=TEXTS_PER_CALL,
            remove_columns=["text"],
            desc="Tokenising texts",
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
            log.warning("%s is damaged; tokenising the texts again.", file)
            file.unlink()
            encoded = encode_all(file)
        if file and FULL_LENGTH not in encoded.column_names:  # written by an older version
            file.unlink()
            encoded = encode_all(file)
    except OSError as error:
        log.warning("%s cannot be written (%s); tokens are kept in memory.", file, error.strerror or error)
        encoded = encode_all(None)
    column = encoded.data.column("ids").combine_chunks()
    lists = column.chunk(0) if hasattr(column, "chunk") else column
    lengths = np.asarray(lists.value_lengths()).astype(np.int64)
    return Tokens(
        np.asarray(lists.flatten()).astype(np.int32), lengths, np.asarray(encoded[FULL_LENGTH], dtype=np.int64)
    )


def token_ids(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[list[int]], list[int]]:
    """Returns the token ids of each text, special tokens included, truncated at `max_length`; and its full length."""
    # Tokenizers in Rust use all cores themselves; more processes would only slow them down.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    options: dict[str, Any] = {"return_attention_mask": False, "return_token_type_ids": False}
    found = tokenizer(texts, truncation=True, max_length=max_length, **options)
    ids: list[list[int]] = found["input_ids"]
    special = tokenizer.num_special_tokens_to_add()
    if found.encodings is None:  # tokenizers in Python do not return the truncated rest
        return ids, [special + len(tokenizer.tokenize(text)) for text in texts]
    return ids, [len(e.ids) + sum(len(rest.ids) - special for rest in e.overflowing) for e in found.encodings]


def _cache_file(folder: Path, key: str) -> Path | None:
    """Returns the cache file of a key; None if it does not exist and the folder cannot be written."""
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
    """Returns a hash of the texts, the tokenizer and the length."""
    digest = hashlib.sha256(json.dumps([max_length, tokenizer_state(tokenizer)]).encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:32]


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns everything that decides how a tokenizer tokenises; padding and truncation are set in each call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps([repr(tokenizer), sorted(tokenizer.get_vocab().items())])
    state = json.loads(backend.to_str())
    return json.dumps({k: v for k, v in state.items() if k not in ("padding", "truncation")}, sort_keys=True)
