"""Tokens and words of a text or a pair: the span of each word, and which tokens it consists of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from src.config.reading import Reading, Truncation
from src.data.texts import BETWEEN, Text, is_blank, parts, shown
from src.datamodules.pieces import joined, slices_of, special_ends
from src.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Punctuation marks of scripts with and without spaces; apostrophes and hyphens are parts of words.
MARKS = (
    re.escape(r'!"#$%&()*+,./:;<=>?@[\]^_`{|}~') + "«»¿¡\\u2012-\\u2017\\u201c-\\u2027\\u3001-\\u3011\\uff01-\\uff20"
)


IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


# A word is an ideograph, a run of punctuation marks, or a run of anything else.
WORD = re.compile(f"[{IDEOGRAPH}]|[{MARKS}]+|[^\\s{MARKS}{IDEOGRAPH}]+")


SIDES = "sides"  # the column with the text of a pair that a token is of


Spans = dict[int, tuple[int, int]]  # begin and end of words, by their index


@dataclass(frozen=True)
class Window:
    """A window of a document.

    Args:
        index: among the windows of the document, from 0.
        logits: what the head computes for each window.
        label: that the document would have with the lowest probability without this window.
        read: where the last window ends in the text.
    """

    index: int
    logits: Float[Tensor, "windows columns"]
    label: str
    read: int


@dataclass(frozen=True)
class Tokens:
    """One text as the encoder reads it.

    Args:
        text: the whole text; of a pair, both texts as they are shown.
        names: the tokens, including special ones.
        ids: the token ids.
        special: tokens that are not part of the text, such as [CLS] and padding.
        mask: tokens that are not padding.
        words: for each token the number of its word in the text; -1 for special tokens.
        spans: begin and end in the text of each word that has tokens, by its index.
        mask_id: the id that replaces masked tokens.
        sides: begin and end of the text in `text`; of a pair, of both.
        types: of the tokens of a pair; None where the tokenizer has none.
        truncation: which tokens are kept of a text that is too long.
        window: which part of a long document this is; None: it is read as one.
    """

    text: str
    names: tuple[str, ...]
    ids: Int[Tensor, " tokens"]
    special: Bool[Tensor, " tokens"]
    mask: Bool[Tensor, " tokens"]
    words: tuple[int, ...]
    spans: Spans
    mask_id: int
    sides: tuple[tuple[int, int], ...]
    types: Int[Tensor, " tokens"] | None = None
    truncation: Truncation = "head"
    window: Window | None = None

    def side(self, word: int) -> int:
        """Returns which text of a pair a word is in: 0 for the first, 1 for the second."""
        return sum(self.spans[word][0] >= begin for begin, _ in self.sides[1:])

    def word(self, word: int) -> str:
        """Returns a word of the text by its index."""
        return self.text[slice(*self.spans[word])]

    def label(self, word: int) -> str:
        """Returns a word as figures show it: those of a pair with the number of their text."""
        return f"{self.side(word) + 1}: {self.word(word)}" if len(self.sides) > 1 else self.word(word)

    def unread(self, begin: int, end: int) -> str:
        """Returns the part of the text between two places that truncation leaves out."""
        read = sorted(span for span in self.spans.values() if begin <= span[0] < end)
        if self.truncation == "head":
            return self.text[max((stop for _, stop in read), default=begin) : end]
        if self.truncation == "tail":
            return self.text[begin : read[0][0]]
        gaps = [self.text[left[1] : right[0]] for left, right in itertools.pairwise(read)]
        return max(gaps, key=len, default="")

    @property
    def masked(self) -> Int[Tensor, " tokens"]:
        """The ids with every token of the text masked."""
        return torch.where(self.special, self.ids, self.mask_id)

    def with_masked(self, words: Bool[Tensor, "rows words"]) -> Int[Tensor, "rows tokens"]:
        """Returns the ids with some words masked; columns are the words that have tokens, in order."""
        column_of = {word: column for column, word in enumerate(self.spans)}
        columns = torch.tensor([column_of.get(word, 0) for word in self.words])
        return torch.where(words[:, columns] & ~self.special, self.mask_id, self.ids)

    def by_word(self, values: Float[Tensor, "*any tokens"]) -> Float[Tensor, "*any words"]:
        """Returns the sum over the tokens of each word that has tokens, in order. Special tokens belong to no word."""
        words = torch.tensor(self.words)
        return torch.stack([values[..., words == word].sum(-1) for word in self.spans], dim=-1)


def split(text: Text, tokenizer: PreTrainedTokenizerBase, reading: Reading) -> list[Tokens]:
    """Tokenizes a text or a pair as in training: returns each of its windows or, without windows, the tokens that are
    read of it.

    Raises:
        UserError: the text has no tokens, or the tokenizer does not return offsets.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"The run's tokenizer must return the offsets of its tokens; {type(tokenizer).__name__} does not.\n"
            "Train with a backbone that has a tokenizer.json."
        )
    return [_tokens(text, tokenizer, reading, found) for found in _read(text, tokenizer, reading)]


def _tokens(text: Text, tokenizer: PreTrainedTokenizerBase, reading: Reading, found: Mapping[str, list[Any]]) -> Tokens:
    special = torch.tensor(found["special_tokens_mask"]).bool()
    if special.all() or is_blank(text):
        raise UserError(f"The text must contain tokens; {text!r} has none.\nGive a text with words.")
    words, spans, sides = _words(parts(text), found["offset_mapping"], found[SIDES], special.tolist())
    candidates = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    pair = len(sides) > 1 and "token_type_ids" in found
    return Tokens(
        shown(text),
        tuple(tokenizer.convert_ids_to_tokens(found["input_ids"])),
        torch.tensor(found["input_ids"]),
        special,
        torch.tensor(found["attention_mask"]).bool(),
        words,
        spans,
        next(int(i) for i in candidates if i is not None),
        sides,
        torch.tensor(found["token_type_ids"]) if pair else None,
        reading.truncation,
    )


def _read(text: Text, tokenizer: PreTrainedTokenizerBase, reading: Reading) -> list[dict[str, list[Any]]]:
    """Returns what the tokenizer says of each token that is read, and which text of a pair it is of; by window."""
    options: dict[str, Any] = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "verbose": False}
    cut = {"truncation": True, "max_length": reading.max_length} if len(parts(text)) > 1 else {}
    found = tokenizer(*parts(text), **options, **cut)
    columns = {**found, SIDES: found.sequence_ids()}
    if cut:
        return [columns]
    pieces = slices_of(len(found["input_ids"]), special_ends(tokenizer), reading)
    return [{name: joined(values, piece) for name, values in columns.items()} for piece in pieces]


def _words(
    texts: Sequence[str], offsets: Sequence[tuple[int, int]], sequences: Sequence[int | None], special: Sequence[bool]
) -> tuple[tuple[int, ...], Spans, tuple[tuple[int, int], ...]]:
    """Returns the index of each token's word, the spans of these words and of the texts, in the text as it is shown."""
    words = [-1] * len(offsets)
    spans: Spans = {}
    sides: list[tuple[int, int]] = []
    first = begin = 0  # the number of the next text's first word, and where it begins
    for side, text in enumerate(texts):
        own = [token for token in range(len(offsets)) if sequences[token] == side and not special[token]]
        for token, (word, start, end) in zip(own, _words_of(text, [offsets[token] for token in own]), strict=True):
            words[token] = first + word
            spans[first + word] = (begin + start, begin + end)
        sides.append((begin, begin + len(text)))
        first, begin = first + len(WORD.findall(text)), begin + len(text) + len(BETWEEN)
    return tuple(words), spans, tuple(sides)


def _words_of(text: str, offsets: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yields for each token the index of its word in the text, and the span of the word. A token belongs to the word in
    which it begins; a word ends no earlier than its last token."""
    found = [match.span() for match in WORD.finditer(text)]
    word = 0
    for begin, end in offsets:
        # Some tokenizers include the space before a word in its first token.
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
        while word + 1 < len(found) and found[word + 1][0] <= begin:
            word += 1
        yield word, found[word][0], max(end, found[word][1])
