"""Tokenises texts once: cached on disk by content, parallel in the tokenizer's own threads."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.arrays import NDArray
from src.config.reading import Reading
from src.data.texts import Text, as_columns, sides
from src.datamodules.pieces import check_stride, joined, slices_of, special_ends
from src.datamodules.ragged import Tokens
from src.datamodules.windows import WindowedTokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TEXTS_PER_CALL = 4_096


FULL_LENGTH = "whole"  # the column with the lengths before truncation


WINDOW_LENGTHS = "windows"  # the column with the length of each window


def tokenize(texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, reading: Reading, cache: Path) -> Tokens:
    """Returns the token ids that are read of every text, or of its windows, special tokens included; the longer text of
    a pair is truncated first.

    Args:
        texts: of all splits.
        tokenizer: the backbone's.
        reading: which tokens are read.
        cache: a folder for the result; a later call with the same texts, tokenizer and reading reads it.

    Raises:
        UserError: windows share too many tokens.
    """
    key = fingerprint(texts, tokenizer, reading)
    encoded = _cached(_encoder(texts, tokenizer, reading, key), _cache_file(cache / "tokens", key))
    ids, lengths = _flat(encoded, "ids", np.int32)
    types = _flat(encoded, "types", np.int8)[0] if "types" in encoded.column_names else None
    whole = encoded.data.column(FULL_LENGTH).to_numpy()
    if reading.stride is not None:
        return _windowed(ids, _flat(encoded, WINDOW_LENGTHS, np.int64), whole, tokenizer, reading.stride)
    return Tokens(ids, lengths, whole, types=types)


def _encoder(
    texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, reading: Reading, key: str
) -> Callable[[Path | None], Dataset]:
    """Returns a function that encodes the texts into a file, or reads them from it; without a file, in memory."""
    from datasets import Dataset, disable_progress_bars, enable_progress_bars

    columns = as_columns(texts)

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        return token_columns([batch[name] for name in columns], tokenizer, reading)

    short = len(texts) < 10 * TEXTS_PER_CALL
    (disable_progress_bars if short else enable_progress_bars)()

    def encode_all(file: Path | None) -> Dataset:
        return Dataset.from_dict(columns).map(
            encode,
            batched=True,
            batch_size=TEXTS_PER_CALL,
            remove_columns=[*columns],
            desc="Tokenising texts",
            cache_file_name=str(file) if file else None,
            keep_in_memory=not file,
            new_fingerprint=key,
        )

    return encode_all


def _cached(encode_all: Callable[[Path | None], Dataset], file: Path | None) -> Dataset:
    """Returns what the file has, or what it gets if it is missing, damaged or of an older version; where it cannot be
    written, the same in memory."""
    import pyarrow

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
    return encoded


def _windowed(
    ids: NDArray[Any],
    windows: tuple[NDArray[np.int64], NDArray[np.int64]],
    full_lengths: NDArray[np.int64],
    tokenizer: PreTrainedTokenizerBase,
    stride: int,
) -> WindowedTokens:
    """Returns texts in windows, from the length of each window, and how many each text has."""
    lengths, counts = windows
    return WindowedTokens(Tokens(ids, lengths, lengths), counts, full_lengths, sum(special_ends(tokenizer)) + stride)


def _flat(encoded: Dataset, name: str, dtype: type[np.integer[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Returns the values of a column of lists, concatenated, and the length of each list. The column, which is twice as
    large or more, is never in memory as a whole."""
    chunks = encoded.data.column(name).chunks
    lengths = np.concatenate([np.asarray(chunk.value_lengths(), dtype=np.int64) for chunk in chunks])
    values = np.empty(lengths.sum(), dtype=dtype)
    end = 0
    for chunk in chunks:
        begin, end = end, end + len(chunk.flatten())
        values[begin:end] = chunk.flatten()
    return values, lengths


def token_columns(
    columns: Sequence[list[str]], tokenizer: PreTrainedTokenizerBase, reading: Reading
) -> dict[str, list[Any]]:
    """Returns for each text the token ids that are read (`ids`), special tokens included; its full length; for windows
    the length of each; and for pairs the type of each token (`types`), where the tokenizer gives types.

    Args:
        columns: the texts; of pairs, the first texts and the second texts.
        tokenizer: the backbone's.
        reading: which tokens are read.
    """
    # Tokenizers in Rust use all cores themselves; more processes would only slow them down.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    options: dict[str, Any] = {"return_attention_mask": False}
    if len(columns) == 1:
        options["return_token_type_ids"] = False
    if reading.truncation != "head" or reading.stride is not None:
        return _pieces(tokenizer(*columns, verbose=False, **options)["input_ids"], special_ends(tokenizer), reading)
    found = tokenizer(*columns, truncation=True, max_length=reading.max_length, **options)
    lengths = [len(ids) for ids in found["input_ids"]]
    if full := [index for index, length in enumerate(lengths) if length == reading.max_length]:
        whole = tokenizer(*([column[index] for index in full] for column in columns), verbose=False, **options)
        for index, ids in zip(full, whole["input_ids"], strict=True):
            lengths[index] = len(ids)
    types = {"types": found["token_type_ids"]} if "token_type_ids" in found else {}
    return {"ids": found["input_ids"], FULL_LENGTH: lengths, **types}


def _pieces(whole: Sequence[list[int]], ends: tuple[int, int], reading: Reading) -> dict[str, list[Any]]:
    """As `token_columns`, from the ids of whole single texts."""
    check_stride(ends, reading.max_length, reading.stride)
    pieces = [slices_of(len(ids), ends, reading) for ids in whole]
    kept = [joined(ids, [*itertools.chain(*parts)]) for ids, parts in zip(whole, pieces, strict=True)]
    found: dict[str, list[Any]] = {"ids": kept, FULL_LENGTH: [*map(len, whole)]}
    if reading.stride is not None:
        found[WINDOW_LENGTHS] = [[sum(part.stop - part.start for part in piece) for piece in parts] for parts in pieces]
    return found


def read_tokens(texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, reading: Reading) -> Tokens:
    """As `tokenize`, without a cache."""
    if not texts:
        return Tokens(*(np.empty(0, dtype=np.int64) for _ in range(3)))
    found = token_columns(sides(texts), tokenizer, reading)

    def flat(name: str) -> NDArray[np.int64]:
        return np.fromiter(itertools.chain.from_iterable(found[name]), dtype=np.int64)

    def counts(name: str) -> NDArray[np.int64]:
        return np.array([*map(len, found[name])], dtype=np.int64)

    whole = np.array(found[FULL_LENGTH], dtype=np.int64)
    if reading.stride is not None:
        windows = (flat(WINDOW_LENGTHS), counts(WINDOW_LENGTHS))
        return _windowed(flat("ids"), windows, whole, tokenizer, reading.stride)
    types = flat("types") if "types" in found else None
    return Tokens(flat("ids"), counts("ids"), whole, types=types)


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


def fingerprint(texts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, reading: Reading) -> str:
    """Returns a hash of the texts, the tokenizer and which tokens are read."""
    columns = sides(texts)
    types = [tokenizer.model_input_names] if len(columns) > 1 else []  # of pairs they say whether tokens have types
    digest = hashlib.sha256(json.dumps([reading.key, tokenizer_state(tokenizer), *types]).encode())
    for text in itertools.chain(*columns):
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
