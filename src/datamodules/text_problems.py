"""Texts that a model cannot read completely: truncated texts, and texts without any known token."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from src.arrays import NDArray
from src.config.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from src.config.data import Data
    from src.data.split import Split
    from src.datamodules.ragged import Tokens

log = logging.getLogger(__name__)

NAMED = 5  # rows that a message lists


ENOUGH = 0.99  # fraction of texts that a proposed max_length does not truncate


STEP = 16  # proposed lengths are multiples of it


# Labels cannot be learned or predicted from such texts.
EMPTY = "The tokenizer gives no token for {} (control characters and characters without width, for example)"


UNKNOWN = "The tokenizer gives only unknown tokens for {}"


@dataclass(frozen=True)
class TextProblems:
    """Indices of the texts with a problem, in ascending order.

    Args:
        empty: texts with special tokens only.
        unknown: texts with unknown tokens only.
        truncated: texts longer than the maximal length.
    """

    empty: NDArray[np.intp]
    unknown: NDArray[np.intp]
    truncated: NDArray[np.intp]


@dataclass(frozen=True)
class Truncated:
    """
    Args:
        texts: of a split that lose tokens.
        total: texts of the split.
        lost: their tokens that no layer sees.
        median: of the lost tokens of such a text; 0 if there is none.
    """

    texts: int
    total: int
    lost: int
    median: int


def truncated(tokens: Tokens) -> Truncated:
    """Returns how many texts of a split are cut off, and what they lose."""
    found = tokens.lost[tokens.lost > 0]
    return Truncated(len(found), len(tokens.lost), int(found.sum()), int(np.median(found)) if len(found) else 0)


def find_problems(tokens: Tokens, tokenizer: PreTrainedTokenizerBase, pairs: bool) -> TextProblems:
    """Finds texts that are empty, unknown or truncated after tokenisation.

    Args:
        tokens: of the texts.
        tokenizer: that made them.
        pairs: whether the texts are pairs.
    """
    own = tokens.lengths - tokens.counts * tokenizer.num_special_tokens_to_add(pair=pairs)
    counts = np.zeros(len(tokens.values) + 1, dtype=np.int64)
    if tokenizer.unk_token_id is not None:
        np.cumsum(np.asarray(tokens.values) == tokenizer.unk_token_id, out=counts[1:])
    unknown = counts[tokens.starts + tokens.lengths] - counts[tokens.starts]
    return TextProblems(
        np.flatnonzero(own <= 0),
        np.flatnonzero((own > 0) & (unknown == own)),
        np.flatnonzero(tokens.lost > 0),
    )


def log_problems(
    splits: Mapping[str, Split],
    tokens: Mapping[str, Tokens],
    tokenizer: PreTrainedTokenizerBase,
    cfg: Data,
    longest: int,
) -> None:
    """Warns of the texts of each split that are empty, unknown or truncated.

    Args:
        splits: by name.
        tokens: of the splits.
        tokenizer: that made them.
        cfg: the data section of the config.
        longest: the most tokens that the backbone can read.
    """
    found = {name: find_problems(tokens[name], tokenizer, cfg.pairs) for name in splits}
    for name, split in splits.items():
        for indices, what in ((found[name].empty, EMPTY), (found[name].unknown, UNKNOWN)):
            if len(indices):
                rows = split.rows[indices].tolist()
                log.warning("%s: %s", what.format(f"{counted(len(rows), 'text')} in {name}"), named_rows("row", rows))
    if said := said_of_windows(tokens, cfg):
        log.info(said)
    if said := said_of_truncation(tokens, cfg, longest):
        log.warning(said)


def said_of_windows(tokens: Mapping[str, Tokens], cfg: Data) -> str:
    """Returns in a line how many windows the texts become; empty without windows.

    Args:
        tokens: by split.
        cfg: the data section of the config.
    """
    if not cfg.windows:
        return ""
    counts = ", ".join(
        f"{len(part.counts):,} of {name} {part.counts.sum():,} (at most {part.counts.max():,} of a text)"
        for name, part in tokens.items()
    )
    return (
        f"Texts become windows of at most {cfg.max_length} tokens, of which neighbours share {cfg.reading.stride}: "
        f"{counts}. At most {cfg.batch_size:,} are computed at once in training, {cfg.eval_batch_size:,} otherwise."
    )


def said_of_truncation(tokens: Mapping[str, Tokens], cfg: Data, longest: int) -> str:
    """Returns in a line how many texts lose how many tokens; empty if none does.

    Args:
        tokens: by split.
        cfg: the data section of the config.
        longest: the most tokens that the backbone can read.
    """
    found = {name: truncated(part) for name, part in tokens.items()}
    if not any(part.texts for part in found.values()):
        return ""
    counts = ", ".join(
        f"{part.texts:,} of {part.total:,} in {name} ({part.texts / part.total:.1%}) lose {part.lost:,} tokens"
        for name, part in found.items()
        if part.texts
    )
    if cfg.windows:
        return f"Texts are truncated at data.max_windows={cfg.max_windows} windows: {counts}. null reads all."
    lengths = np.concatenate([part.full_lengths for part in tokens.values()])
    whole = "" if cfg.pairs or cfg.label is None else " data.windows=true reads whole texts."
    proposal = f"{_proposal(lengths, cfg.max_length, longest)}{whole if lengths.max() > longest else ''}"
    return f"Texts are truncated at data.max_length={cfg.reading}: {counts}. {proposal}"


def _proposal(lengths: NDArray[np.int64], max_length: int, longest: int) -> str:
    """Returns a sentence on which max_length suits texts of these lengths."""
    most = f"The longest has {lengths.max():,}"
    limit = f"this backbone reads no more than {longest:,}"
    wanted = STEP * int(np.ceil(np.quantile(lengths, ENOUGH, method="higher") / STEP))
    better = min(max(wanted, max_length), longest)
    if better > max_length:
        advice = f"data.max_length={better} truncates {(lengths > better).mean():.1%} of all"
        return f"{most}; {advice}{f', and {limit}' if wanted > longest else ''}."
    return f"{most}; {limit}." if wanted > longest else f"{most}."


def named_rows(unit: str, rows: Sequence[int | str]) -> str:
    """Lists the first rows by number, such as `rows 3, 8, …`."""
    named = ", ".join(map(str, rows[:NAMED]))
    return f"{unit if len(rows) == 1 else f'{unit}s'} {named}{', …' if len(rows) > NAMED else ''}"
