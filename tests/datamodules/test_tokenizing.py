"""Token ids, types and lengths are those of the tokenizer, of single texts and of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers

from src.data.texts import Text
from src.datamodules.tokenizing import fingerprint, tokenize

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
    found = tokenize(PAIRS, tokenizer, LENGTH, tmp_path)
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
    assert tokenize(["good", "bad"], tokenizer, LENGTH, tmp_path).types is None


def test_the_texts_of_pairs_are_not_as_many_single_texts(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    texts: list[list[Text]] = [["a", "b"], [("a", "b")], [("a", ""), ("b", "")], [("ab", "")]]
    assert len({fingerprint(each, tokenizer, LENGTH) for each in texts}) == 4
