"""Windows of long texts are those of the tokenizers library, and nothing of a text is lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import transformers

from src.config.reading import Reading
from src.datamodules.pieces import piece_slices
from src.datamodules.tokenizing import fingerprint, read_tokens, tokenize
from src.datamodules.windows import WindowedTokens
from src.errors import UserError
from src.models.checks import read_config
from tests.conftest import composed
from tests.datamodules.test_tokenizing import LENGTH, long_texts, rows_of


def windowed(tokenizer: transformers.PreTrainedTokenizerFast, folder: Path, reading: Reading) -> WindowedTokens:
    found = tokenize(long_texts(), tokenizer, reading, folder)
    assert isinstance(found, WindowedTokens)
    return found


@pytest.mark.parametrize("stride", [0, 1, 4, 13])
def test_they_are_those_of_the_tokenizers_library(
    stride: int, tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    found = windowed(tokenizer, tmp_path, Reading(LENGTH, stride=stride))
    options = {"truncation": True, "max_length": LENGTH, "stride": stride, "return_overflowing_tokens": True}
    expected = tokenizer(long_texts(), **options)
    assert rows_of(found.inputs) == expected["input_ids"]
    texts = np.bincount(expected["overflow_to_sample_mapping"])
    assert found.counts.tolist() == texts.tolist()
    assert texts.max() > 10
    assert not found.lost.any()
    assert found.full_lengths.tolist() == [len(tokenizer(text)["input_ids"]) for text in long_texts()]


def test_batches_hold_all_windows_of_their_texts(
    tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    found = windowed(tokenizer, tmp_path, Reading(LENGTH, stride=4))
    windows = rows_of(found.inputs)
    ends = np.cumsum(found.counts)
    of = [windows[end - count : end] for end, count in zip(ends, found.counts, strict=True)]
    for tokens, rows in ((found, [4, 0, 2]), (found.take(np.array([4, 0, 2])), [0, 1, 2])):
        batch = tokens.batch(np.array(rows), padding=0)
        assert batch["windows"].tolist() == [len(of[text]) for text in (4, 0, 2)]
        shown = [row[real].tolist() for row, real in zip(batch["input_ids"], batch["mask"], strict=True)]
        assert shown == [*of[4], *of[0], *of[2]]
        assert tokens.padded_size(np.array(rows)) == batch["mask"].numel()


def test_what_the_cap_leaves_out_is_counted(tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path) -> None:
    every = windowed(tokenizer, tmp_path, Reading(LENGTH, stride=4))
    capped = windowed(tokenizer, tmp_path, Reading(LENGTH, stride=4, max_windows=2))
    assert capped.counts.tolist() == np.minimum(every.counts, 2).tolist()
    room = LENGTH - 2
    whole = every.full_lengths - 2  # without special tokens
    assert capped.lost.tolist() == np.maximum(whole - (2 * room - 4), 0).tolist()


def test_without_a_cache_they_are_the_same(tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path) -> None:
    reading = Reading(LENGTH, stride=4, max_windows=5)
    cached, read = windowed(tokenizer, tmp_path, reading), read_tokens(long_texts(), tokenizer, reading)
    again = windowed(tokenizer, tmp_path, reading)
    for other in (read, again):
        assert rows_of(other.inputs) == rows_of(cached.inputs)
        assert (other.counts.tolist(), other.lost.tolist()) == (cached.counts.tolist(), cached.lost.tolist())


@pytest.mark.parametrize("length", range(3, 40))
@pytest.mark.parametrize("stride", [0, 2, 4])
def test_every_token_is_in_a_window_and_neighbours_share_the_stride(length: int, stride: int) -> None:
    pieces = piece_slices(length, (1, 1), 8, None, stride, None)
    own = [[i for part in piece for i in range(length)[part]][1:-1] for piece in pieces]
    assert sorted({token for piece in own for token in piece}) == [*range(1, length - 1)]
    assert all(len(piece) == 6 for piece in own[:-1])
    assert all(len({*left} & {*right}) == stride for left, right in itertools.pairwise(own))


def test_a_stride_of_whole_windows_is_refused_by_the_config() -> None:
    windows = ("data.windows=true", "data.max_length=64")
    read_config(composed(*windows, "data.stride=63"))
    with pytest.raises(UserError, match=r"^data\.stride=64 .* must be less than data\.max_length=64\.\nLower it"):
        read_config(composed(*windows, "data.stride=64"))


@pytest.mark.parametrize(("length", "stride"), [(16, 14), (16, 200), (3, 1)])
def test_windows_that_would_not_move_on_are_refused(
    length: int, stride: int, tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"holds: {length - 2}, beside 2 special ones.*got {stride}\."):
        tokenize(long_texts(), tokenizer, Reading(length, stride=stride), tmp_path)
    tokenize(long_texts(), tokenizer, Reading(length, stride=length - 3), tmp_path)


def test_stride_and_cap_decide_the_hash(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    readings = (Reading(16), Reading(16, stride=4), Reading(16, stride=5), Reading(16, stride=4, max_windows=2))
    assert len({fingerprint(["a"], tokenizer, reading) for reading in readings}) == 4
