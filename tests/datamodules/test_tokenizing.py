"""Token ids, types and lengths are those of the tokenizer, of single texts and of pairs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from src.config.reading import Reading, Truncation
from src.data.texts import Text
from src.datamodules.pieces import special_ends
from src.datamodules.ragged import Tokens
from src.datamodules.tokenizing import fingerprint, tokenize, tokenizer_state

LENGTH = 16
PAIRS: list[Text] = [
    ("good", "bad"),
    ("good " * 40, "bad"),
    ("good", "bad " * 40),
    ("good " * 9, "bad " * 30),
    ("good " * 6, "bad " * 7),  # just as long as is read
]


@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
def test_pairs_are_tokenized_as_transformers_does(
    names: list[str], tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "model_input_names", names)
    found = tokenize(PAIRS, tokenizer, Reading(LENGTH), tmp_path)
    expected = [tokenizer(*pair, truncation="longest_first", max_length=LENGTH) for pair in PAIRS]
    assert found.lengths.tolist() == [len(encoded["input_ids"]) for encoded in expected]
    assert found.full_lengths.tolist() == [len(tokenizer(*pair)["input_ids"]) for pair in PAIRS]
    rows = np.array([3, 0, 1])
    for tokens, order in ((found, rows), (found.take(rows), np.arange(3))):
        batch = tokens.batch(order, padding=0)
        assert ("token_type_ids" in batch) == ("token_type_ids" in names)
        for name in set(names) - {"attention_mask"}:
            for row, index in zip(batch[name], rows, strict=True):
                given = expected[index][name]
                assert row[: len(given)].tolist() == given
                assert not row[len(given) :].any()


def test_single_texts_have_no_types(tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert tokenize(["good", "bad"], tokenizer, Reading(LENGTH), tmp_path).types is None


def test_the_texts_of_pairs_are_not_as_many_single_texts(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    texts: list[list[Text]] = [["a", "b"], [("a", "b")], [("a", ""), ("b", "")], [("ab", "")]]
    assert len({fingerprint(each, tokenizer, Reading(LENGTH)) for each in texts}) == 4


WORDS = [f"word{number} good bad" for number in range(40)]  # several tokens each, all of them different


def long_texts() -> list[Text]:
    return [" ".join(WORDS[:count]) for count in (1, 3, 4, 5, 12, 40)]


def test_the_last_tokens_are_those_of_the_tokenizer_itself(
    tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tokenize(long_texts(), tokenizer, Reading(LENGTH, "tail"), tmp_path)
    whole = [tokenizer(text)["input_ids"] for text in long_texts()]
    assert tokenizer.truncation_side == "right"
    monkeypatch.setattr(tokenizer, "truncation_side", "left")
    expected = [tokenizer(text, truncation=True, max_length=LENGTH)["input_ids"] for text in long_texts()]
    assert [row[: len(ids)] for row, ids in zip(rows_of(found), expected, strict=True)] == expected
    assert found.lengths.tolist() == [*map(len, expected)]
    assert found.full_lengths.tolist() == [*map(len, whole)]
    assert found.lost.sum() == sum(map(len, whole)) - sum(map(len, expected)) > 0


def rows_of(tokens: Tokens) -> list[list[int]]:
    return [list(map(int, tokens.flat(np.array([row])))) for row in range(len(tokens.lengths))]


@pytest.mark.parametrize(("length", "first"), [(16, 4), (3, 0), (5, 1), (400, 100), (512, 128), (600, 128)])
def test_a_part_of_the_beginning_and_the_end_are_kept(
    length: int, first: int, tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    texts: list[Text] = [" ".join(WORDS * 10), "good"]
    found = tokenize(texts, tokenizer, Reading(length, "head_tail"), tmp_path)
    own = tokenizer(texts[0], add_special_tokens=False)["input_ids"]
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    kept = [begin, *own[:first], *own[len(own) - (length - 2 - first) :], end]
    assert rows_of(found) == [kept, tokenizer("good")["input_ids"]]
    assert found.lost.tolist() == [len(own) + 2 - length, 0]


def test_of_a_tokenizer_without_special_tokens_only_the_text_is_kept(tmp_path: Path) -> None:
    plain = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"a": 0, **{str(n): n for n in range(1, 30)}}, "a")), unk_token="a"
    )
    plain.backend_tokenizer.pre_tokenizer = Whitespace()
    assert special_ends(plain) == (0, 0)
    text = " ".join(str(n) for n in range(1, 21))
    found = tokenize([text], plain, Reading(8, "head_tail"), tmp_path)
    assert rows_of(found) == [[1, 2, 15, 16, 17, 18, 19, 20]]


def test_what_is_read_decides_the_hash_and_the_first_tokens_have_that_of_earlier_versions(
    tokenizer: transformers.PreTrainedTokenizerFast,
) -> None:
    kinds: list[Truncation] = ["head", "tail", "head_tail"]
    assert len({fingerprint(["a"], tokenizer, Reading(LENGTH, kind)) for kind in kinds}) == 3
    content = hashlib.sha256(json.dumps([LENGTH, tokenizer_state(tokenizer)]).encode())
    content.update((1).to_bytes(8, "little") + b"a")
    assert fingerprint(["a"], tokenizer, Reading(LENGTH)) == content.hexdigest()[:32]
