"""Tokens and words of a text: the span of each word, and which tokens it consists of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

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


@dataclass(frozen=True)
class Tokens:
    """One text as the encoder reads it.

    Args:
        text: the whole text.
        names: the tokens, including special ones.
        ids: the token ids.
        special: tokens that are not part of the text, such as [CLS] and padding.
        mask: tokens that are not padding.
        words: for each token the number of its word in the text; -1 for special tokens.
        spans: begin and end in the text of each word that has tokens, by its index.
        mask_id: the id that replaces masked tokens.
    """

    text: str
    names: tuple[str, ...]
    ids: Int[Tensor, " tokens"]
    special: Bool[Tensor, " tokens"]
    mask: Bool[Tensor, " tokens"]
    words: tuple[int, ...]
    spans: dict[int, tuple[int, int]]
    mask_id: int

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


def split(text: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tokens:
    """Tokenizes a text as in training, truncated to `max_length` tokens.

    Raises:
        UserError: the text has no tokens, or the tokenizer does not return offsets.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"The run's tokenizer must return the offsets of its tokens; {type(tokenizer).__name__} does not.\n"
            "Train with a backbone that has a tokenizer.json."
        )
    found = tokenizer(
        text, truncation=True, max_length=max_length, return_offsets_mapping=True, return_special_tokens_mask=True
    )
    special = torch.tensor(found["special_tokens_mask"]).bool()
    if special.all() or not text.strip():
        raise UserError(f"The text must contain tokens; {text!r} has none.\nGive a text with words.")
    words, spans = _words(text, found["offset_mapping"], special.tolist())
    candidates = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    return Tokens(
        text,
        tuple(tokenizer.convert_ids_to_tokens(found["input_ids"])),
        torch.tensor(found["input_ids"]),
        special,
        torch.tensor(found["attention_mask"]).bool(),
        words,
        spans,
        next(int(i) for i in candidates if i is not None),
    )


def _words(
    text: str, offsets: list[tuple[int, int]], special: list[bool]
) -> tuple[tuple[int, ...], dict[int, tuple[int, int]]]:
    """Returns the index of each token's word, and the spans of these words. A token belongs to the word in which it
    begins; a word ends no earlier than its last token."""
    found = [match.span() for match in WORD.finditer(text)]
    words: list[int] = []
    spans: dict[int, tuple[int, int]] = {}
    word = 0
    for (begin, end), is_special in zip(offsets, special, strict=True):
        if is_special:
            words.append(-1)
            continue
        # Some tokenizers include the space before a word in its first token.
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
        while word + 1 < len(found) and found[word + 1][0] <= begin:
            word += 1
        words.append(word)
        spans[word] = (found[word][0], max(end, found[word][1]))
    return tuple(words), spans
