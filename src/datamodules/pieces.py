"""Which tokens of a text the encoder reads, as slices of the tokens of the whole text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def special_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Returns how many special tokens the tokenizer puts before and after a single text."""
    whole: list[int] = tokenizer("a")["input_ids"]
    own: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    added = len(whole) - len(own)
    before = next(n for n in range(added + 1) if whole[n : n + len(own)] == own)
    return before, added - before


def kept_slices(length: int, ends: Sequence[int], most: int, first: int | None) -> list[slice]:
    """Returns the slices of a text's tokens that the encoder reads; special tokens are always among them.

    Args:
        length: of the whole text, special tokens included.
        ends: how many special tokens are before and after the text.
        most: tokens that the encoder reads.
        first: how many tokens of the beginning of a longer text are kept; the others are of its end. None: all.
    """
    if length <= most:
        return [slice(0, length)]
    begin = most - ends[1] if first is None else ends[0] + first
    return [slice(0, begin), slice(length - most + begin, length)]


def joined(values: Sequence[Any], slices: Sequence[slice]) -> list[Any]:
    """Returns what is in these slices, as one list."""
    return list(itertools.chain.from_iterable(values[part] for part in slices))
