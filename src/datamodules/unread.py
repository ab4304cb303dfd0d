"""What a model does not read of its texts: the end of long ones, and all of those that come to no known token."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from src.data.corpus import Split
    from src.datamodules import tokenizing

log = logging.getLogger(__name__)

NAMED = 5  # rows that a message names


ENOUGH = 0.99  # of the texts should be read whole


STEP = 16  # of the lengths that are proposed


# Of what there is nothing to learn, nor to say.
EMPTY = "The tokenizer keeps nothing of {} (control characters and characters without width, for example)"


UNKNOWN = "The tokenizer knows no token of {}"


@dataclass(frozen=True)
class Unread:
    """The places of texts, in order.

    Args:
        empty: those that come to special tokens alone.
        unknown: those that come to unknown tokens alone.
        cut: those that are longer than what is read.
    """

    empty: NDArray[np.intp]
    unknown: NDArray[np.intp]
    cut: NDArray[np.intp]


def find_unread(tokens: tokenizing.Tokens, tokenizer: PreTrainedTokenizerBase) -> Unread:
    """
    Args:
        tokens: of the texts.
        tokenizer: that made them.
    """
    own = tokens.lengths - tokenizer.num_special_tokens_to_add()
    strange = np.zeros(len(tokens.values) + 1, dtype=np.int64)
    if tokenizer.unk_token_id is not None:
        np.cumsum(np.asarray(tokens.values) == tokenizer.unk_token_id, out=strange[1:])
    unknown = strange[tokens.starts + tokens.lengths] - strange[tokens.starts]
    return Unread(
        np.flatnonzero(own <= 0),
        np.flatnonzero((own > 0) & (unknown == own)),
        np.flatnonzero(tokens.whole > tokens.lengths),
    )


def say_unread(
    splits: Mapping[str, Split],
    tokens: Mapping[str, tokenizing.Tokens],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    longest: int,
) -> None:
    """Says of each split how many of its texts are not read, or not to their end.

    Args:
        splits: by name.
        tokens: of the splits.
        tokenizer: that made them.
        max_length: at which they are cut, in tokens.
        longest: the most tokens that the backbone can read.
    """
    found = {name: find_unread(tokens[name], tokenizer) for name in splits}
    for name, split in splits.items():
        for places, what in ((found[name].empty, EMPTY), (found[name].unknown, UNKNOWN)):
            if len(places):
                rows = split.rows[places].tolist()
                log.warning("%s: %s", what.format(f"{counted(len(rows), 'text')} in {name}"), some("row", rows))
    if any(len(unread.cut) for unread in found.values()):
        shares = (
            f"{len(u.cut):,} of {len(splits[n]):,} in {n} ({len(u.cut) / len(splits[n]):.1%})" for n, u in found.items()
        )
        whole = np.concatenate([tokens[name].whole for name in splits])
        log.warning(
            "Texts are cut at data.max_length=%d tokens: %s. %s",
            max_length,
            ", ".join(shares),
            _proposal(whole, max_length, longest),
        )


def _proposal(whole: NDArray[np.int64], max_length: int, longest: int) -> str:
    """What to do about texts of these lengths that are cut."""
    most = f"The longest has {whole.max():,}"
    limit = f"this backbone reads no more than {longest:,}"
    wanted = STEP * int(np.ceil(np.quantile(whole, ENOUGH, method="higher") / STEP))
    better = min(max(wanted, max_length), longest)
    if better > max_length:
        cuts = f"data.max_length={better} cuts {(whole > better).mean():.1%} of all"
        return f"{most}; {cuts}{f', and {limit}' if wanted > longest else ''}."
    return f"{most}; {limit}." if wanted > longest else f"{most}."


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some(unit: str, rows: Sequence[int]) -> str:
    """The first of some rows by number."""
    named = ", ".join(map(str, rows[:NAMED]))
    return f"{unit if len(rows) == 1 else f'{unit}s'} {named}{', …' if len(rows) > NAMED else ''}"
