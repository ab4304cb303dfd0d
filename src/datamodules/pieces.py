"""Which tokens of a text the encoder reads, as slices of the tokens of the whole text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.config.reading import Reading
from src.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def special_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Returns how many special tokens the tokenizer puts before and after a single text."""
    whole: list[int] = tokenizer("a")["input_ids"]
    own: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    added = len(whole) - len(own)
    before = next(n for n in range(added + 1) if whole[n : n + len(own)] == own)
    return before, added - before


def check_stride(ends: Sequence[int], most: int, stride: int | None) -> None:
    """
    Raises:
        UserError: windows share so many tokens that each would begin where the one before begins.
    """
    room = most - sum(ends)
    if stride is not None and stride >= room:
        raise UserError(
            f"data.stride must be less than the tokens of a text that a window holds: {room}, beside {sum(ends)} "
            f"special ones, with data.max_length={most}; got {stride}.\nLower it, or leave it out."
        )


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


def piece_slices(
    length: int, ends: Sequence[int], most: int, first: int | None, stride: int | None, max_windows: int | None
) -> list[list[slice]]:
    """Returns the slices of each sequence that the encoder reads of a text: of each of its windows, or of the text.

    Args:
        length: of the whole text, special tokens included.
        ends: how many special tokens are before and after the text.
        most: tokens that the encoder reads.
        first: as in `kept_slices`.
        stride: how many tokens two neighbouring windows share; None: no windows.
        max_windows: of a text; None: all.
    """
    if stride is None or length <= most:
        return [kept_slices(length, ends, most, first)]
    begin, end = ends[0], length - ends[1]
    room = most - ends[0] - ends[1]
    starts = range(begin, end - stride, room - stride)[:max_windows]
    return [[slice(0, begin), slice(at, min(at + room, end)), slice(end, length)] for at in starts]


def slices_of(length: int, ends: Sequence[int], reading: Reading) -> list[list[slice]]:
    """Returns the slices of each sequence that the encoder reads of a text with so many tokens."""
    return piece_slices(length, ends, reading.max_length, reading.first, reading.stride, reading.max_windows)


def joined(values: Sequence[Any], slices: Sequence[slice]) -> list[Any]:
    """Returns what is in these slices, as one list."""
    return list(itertools.chain.from_iterable(values[part] for part in slices))
