"""Masked language modelling: which tokens are masked, as a function of seed, epoch and text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from src.arrays import NDArray
from src.config import model
from src.datamodules.batching import Item
from src.datamodules.ragged import Batch, Tokens
from src.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS, REPLACEMENT, RANDOM = (
    0,
    1,
    2,
)  # what a random draw decides: which tokens are masked, by what they are replaced, by which random token


CONTINUES = "##"  # before tokens of WordPiece that continue a word
SENTENCE_PIECE, BYTES = "\u2581", "\u0120"  # before tokens that begin one; the latter in BPE of bytes
MARKS = (CONTINUES, SENTENCE_PIECE, BYTES)


# How tokens begin in scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese and Chinese; in BPE of
# bytes with the letters that stand for their first bytes.
SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
SPACELESS_BYTES = re.compile("[\u00e3-\u00e9]|\u00e0[\u00b8-\u00bb]")


@dataclass(frozen=True)
class Vocabulary:
    """The properties of a tokenizer that masking needs.

    Args:
        mask: the id of the mask token.
        special: bool [vocabulary], special tokens such as [CLS].
        continues: bool [vocabulary], tokens that continue a word, such as ##ing.
    """

    mask: int
    special: NDArray[np.bool_]
    continues: NDArray[np.bool_]


def read_vocabulary(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Reads the properties of a tokenizer that masking needs.

    Raises:
        UserError: the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise UserError(
            "model=bert_mlm needs a tokenizer with a mask token; this one has none.\nChoose backbone=scratch."
        )
    size = max(tokenizer.get_vocab().values()) + 1
    tokens, special = [""] * size, np.zeros(size, dtype=np.bool_)
    for token, index in tokenizer.get_vocab().items():
        tokens[index] = token
    special[tokenizer.all_special_ids] = True
    # That of most tokens: a few of another kind may begin with one, such as words with the letter that marks bytes.
    marks = Counter(mark for token in tokens for mark in MARKS if token.startswith(mark))
    mark = max(MARKS, key=marks.__getitem__)
    continues = np.array([_continues(token, mark) for token in tokens])
    return Vocabulary(int(tokenizer.mask_token_id), special, continues & ~special)


def _continues(token: str, mark: str) -> bool:
    """Whether a token continues the word of the token before.

    WordPiece marks such tokens; BPE and SentencePiece mark those that begin a word, except punctuation. In scripts
    without spaces, where a whole text would be one word, no token continues another.

    Args:
        token: of the vocabulary.
        mark: what the tokenizer marks tokens with.
    """
    letters = token.removeprefix(mark)
    if mark == CONTINUES:
        return letters != token and not SPACELESS.match(letters)
    if letters != token or not any(letter.isalnum() for letter in token):
        return False
    return not (SPACELESS_BYTES if mark == BYTES else SPACELESS).match(token)


class Masking:
    """Masks tokens of texts (Devlin et al. 2019), or whole words.

    Args:
        vocabulary: of the tokenizer.
        cfg: the mask rate, and by what masked tokens are replaced.
        seed: of all random draws.
    """

    def __init__(self, vocabulary: Vocabulary, cfg: model.Masking, seed: int) -> None:
        self.vocabulary, self.cfg, self.seed = vocabulary, cfg, seed
        self.ordinary = np.flatnonzero(~vocabulary.special)

    def __call__(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], rows: NDArray[np.intp], epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Masks tokens of some texts.

        Args:
            ids: [tokens], the texts concatenated.
            lengths: [texts], in tokens.
            rows: [texts], the index of each in its split.
            epoch: each epoch masks different tokens.

        Returns:
            [tokens] input ids of the model, and bool [tokens], which tokens it predicts.
        """
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        positions = np.arange(len(ids)) - starts
        texts = np.repeat(rows, lengths)
        units = positions
        if self.cfg.whole_words:
            begun = np.cumsum((positions == 0) | ~self.vocabulary.continues[ids])
            units = begun - begun[starts]
        chosen = self._draw(TOKENS, epoch, texts, units) < self.cfg.probability
        chosen &= ~self.vocabulary.special[ids]
        kind = self._draw(REPLACEMENT, epoch, texts, positions)
        random = self.ordinary[(self._draw(RANDOM, epoch, texts, positions) * len(self.ordinary)).astype(np.intp)]
        seen = np.where(chosen & (kind < self.cfg.mask), self.vocabulary.mask, ids)
        between = (kind >= self.cfg.mask) & (kind < self.cfg.mask + self.cfg.random)
        return np.where(chosen & between, random, seen), chosen

    def _draw(self, what: int, epoch: int, texts: NDArray[np.intp], units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns uniform numbers in [0, 1), each a hash of seed, kind of draw, epoch, text and unit."""
        state = _mixed(np.array([self.seed], dtype=np.uint64))
        for part in (np.array([what]), np.array([epoch]), texts, units):
            state = _mixed(state ^ _mixed(part.astype(np.uint64) + np.uint64(1)))
        return (state >> np.uint64(11)).astype(np.float64) / (1 << 53)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele et al. 2014): each input bit changes half of the output bits."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass
class MaskedSplit(Dataset[Batch]):
    """A split with masked tokens. An item is a whole batch, indexed by its epoch and rows.

    Args:
        tokens: the ids of each text.
        masking: decides what is masked.
        padding: the id of the padding token.
        rank: of this process.
        ranks: how many processes share every batch.
        blocks: the texts of each sequence, for packed data; None: one text per sequence.
    """

    tokens: Tokens
    masking: Masking
    padding: int
    rank: int = 0
    ranks: int = 1
    blocks: list[NDArray[np.intp]] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [rows], in tokens."""
        if self.blocks is None:
            return self.tokens.lengths
        return np.array([self.tokens.lengths[block].sum() for block in self.blocks])

    def texts(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Returns the texts in these rows, in ascending order."""
        return np.sort(self._texts(rows)[0])

    def __getitem__(self, item: Item) -> Batch:
        """Returns this process's part of a batch: every `ranks`-th row.

        `input_ids` and `mask` are [rows, longest], and so are the `token_type_ids` of pairs; `masked_positions`
        [masked] are indices into the flattened `input_ids`, and `targets` [masked] the original tokens there. Packed
        texts have `positions`, of each token in its text, and `segments`, the number of the text in its row, both
        [rows, longest]. `loss_divisor` is the number of masked tokens of the whole batch, divided by the number of
        processes. With gradient accumulation, `step_fraction` is the batch's fraction of the masked tokens of its
        optimizer step.
        """
        epoch, batch, *step = item
        rows = batch[self.rank :: self.ranks]
        texts, counts = self._texts(rows)
        ids, seen, chosen = self._masked(texts, epoch)
        masked = chosen.sum() if self.ranks == 1 else self._count(batch, epoch)
        lengths = self.tokens.lengths[texts]
        widths = np.add.reduceat(lengths, np.cumsum(counts) - counts)
        mask = np.arange(widths.max()) < widths[:, None]
        laid = np.full(mask.shape, self.padding, dtype=np.int64)
        laid[mask] = seen
        found = {
            "input_ids": laid,
            "mask": mask,
            "masked_positions": np.flatnonzero(mask)[chosen],
            "targets": ids[chosen],
            "loss_divisor": np.float32(max(1, masked) / self.ranks),
        }
        if step:
            found["step_fraction"] = np.float32(masked / max(1, self._count(step[0], epoch)))
        if self.tokens.types is not None:
            found["token_type_ids"] = self.tokens.batch(rows, self.padding)["token_type_ids"].numpy()
        if self.blocks is not None:
            positions, segments = np.zeros_like(laid), np.zeros_like(laid)
            positions[mask] = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            numbers = np.arange(len(texts)) - np.repeat(np.cumsum(counts) - counts, counts)
            segments[mask] = np.repeat(numbers + 1, lengths)
            found |= {"positions": positions, "segments": segments}
        return {name: torch.as_tensor(values) for name, values in found.items()}

    def masked_tokens(self, epoch: int, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Returns the original ids of all masked tokens of these rows in an epoch, text by text."""
        ids, _, chosen = self._masked(self._texts(rows)[0], epoch)
        return ids[chosen]

    def _count(self, rows: NDArray[np.intp], epoch: int) -> int:
        """Returns how many tokens of these rows are masked."""
        return int(self._masked(self._texts(rows)[0], epoch)[2].sum())

    def _texts(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Returns the texts in these rows, and how many each row has."""
        if self.blocks is None:
            return rows, np.ones(len(rows), dtype=np.int64)
        blocks = [self.blocks[row] for row in rows]
        return np.concatenate(blocks), np.array([len(block) for block in blocks])

    def _masked(
        self, texts: NDArray[np.intp], epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        ids = self.tokens.flat(texts).astype(np.int64)
        return ids, *self.masking(ids, self.tokens.lengths[texts], texts, epoch)


def pack(lengths: NDArray[np.int64], size: int) -> list[NDArray[np.intp]]:
    """Packs texts into rows of `size` tokens by best-fit decreasing: the longest text first, each into the row with the
    least sufficient space. This needs at most 11/9 of the optimal number of rows, plus one."""
    blocks: list[list[int]] = []
    rows_by_space: list[list[int]] = [[] for _ in range(size + 1)]  # rows by the space left in them
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        space = next((r for r in range(length, size + 1) if rows_by_space[r]), None)
        if space is None:
            space = size
            rows_by_space[space].append(len(blocks))
            blocks.append([])
        row = rows_by_space[space].pop()
        blocks[row].append(text)
        rows_by_space[space - length].append(row)
    return [np.array(block, dtype=np.intp) for block in blocks]
