"""Pairs of texts and joined columns: what is read, what counts as one text, what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from src.data import corpus
from src.data.folds import text_numbers
from src.data.texts import as_columns, check_kind, from_columns, is_blank, other_columns, shown
from src.errors import UserError
from tests.data.test_data import settings, write_csv

HEADER = ("a", "b", "label")
ROWS = [(f"first {i}", f"second {i}", ("no", "maybe", "yes")[i % 3]) for i in range(30)]
PAIRS: dict[str, Any] = {"text": ["a", "b"]}


def test_two_columns_are_pairs(tmp_path: Path) -> None:
    found = corpus.load(settings(write_csv(tmp_path / "data.csv", ROWS, HEADER), **PAIRS))
    assert found.texts == [(a, b) for a, b, _ in ROWS]
    train = found.splits["train"]
    assert train.texts == [(f"first {row - 2}", f"second {row - 2}") for row in train.rows]


@pytest.mark.parametrize(("side", "column"), [(0, "a"), (1, "b")])
def test_a_pair_with_a_blank_text_is_named_with_its_column_and_row(side: int, column: str, tmp_path: Path) -> None:
    rows = [list(row) for row in ROWS]
    rows[4][side] = " "
    file = write_csv(tmp_path / "data.csv", [tuple(row) for row in rows], HEADER)
    with pytest.raises(UserError, match=f"data.csv has 1 row with no text in column '{column}': line 6"):
        corpus.load(settings(file, **PAIRS))


def test_every_file_needs_both_columns(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", ROWS, HEADER)
    write_csv(tmp_path / "test.csv", ROWS, ("a", "c", "label"))
    with pytest.raises(
        UserError, match=r"(?s)data\.text must name a column of .*test.csv; got 'b'.*data\.text=\[…,…\]"
    ):
        corpus.load(settings(tmp_path, **PAIRS))
    with pytest.raises(UserError, match=r"data\.text must name a column of .*test.csv; got 'b'"):
        corpus.load(settings(tmp_path, **PAIRS, folds=3, fold=0))


def test_a_pair_is_a_copy_only_with_both_of_its_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_csv(tmp_path / "train.csv", ROWS, HEADER)
    rows = [(a, f"other {i}", label) for i, (a, _, label) in enumerate(ROWS)]
    write_csv(tmp_path / "test.csv", [ROWS[0], *rows[1:]], HEADER)
    with caplog.at_level(logging.WARNING):
        corpus.load(settings(tmp_path, **PAIRS, validation_fraction=0.5))
    assert "1 text occurs in both" in caplog.text
    texts = [("One.", "two"), ("one", "TWO!"), ("one", "three"), ("two", "one")]
    assert text_numbers(texts).tolist() == [0, 0, 1, 2]


def test_columns_are_joined_with_their_names(tmp_path: Path) -> None:
    rows = [(f"first {i}", "" if i else "second", "x", label) for i, (_, _, label) in enumerate(ROWS)]
    file = write_csv(tmp_path / "data.csv", rows, ("a", "b", "c", "label"))
    found = corpus.load(settings(file, text=["a", "b", "c"], join=True))
    assert found.texts[:2] == ["a: first 0\nb: second\nc: x", "a: first 1\nc: x"]
    write_csv(file, [*rows, ("", " ", "", "yes")], ("a", "b", "c", "label"))
    with pytest.raises(UserError, match="1 row with no text in column 'a' or 'b' or 'c': line 32"):
        corpus.load(settings(file, text=["a", "b", "c"], join=True))


def test_pairs_go_into_columns_and_back() -> None:
    for texts in (["one", "two"], [("a", "b"), ("c", "d")], []):
        assert from_columns(as_columns(texts)) == texts
    assert as_columns([("a", "b"), ("c", "d")]) == {"text": ["a", "c"], "text_pair": ["b", "d"]}
    assert (shown("a"), shown(("a", "b"))) == ("a", "a ⏎ b")
    assert [is_blank(text) for text in ("a", " ", ("a", "b"), ("a", " "))] == [False, True, False, True]


def test_a_run_reads_what_it_was_trained_on() -> None:
    pairs, single = settings(**PAIRS), settings()
    check_kind(("a", "b"), pairs)
    check_kind("a", single)
    with pytest.raises(UserError, match=r"trained on pairs of texts \(data.text=\[a,b\]\) and needs two; got 'a'"):
        check_kind("a", pairs)
    with pytest.raises(UserError, match=r"needs one; got \('a', 'b'\)"):
        check_kind(("a", "b"), single)
    assert other_columns(pairs, ["c", "d"], "text_column").text == ["c", "d"]
    with pytest.raises(UserError, match=r"text_column must name as many columns .* \(a,b\); got c\.\n.*=\[a,b\]"):
        other_columns(pairs, "c", "text_column")
    with pytest.raises(UserError, match=r"\(text\); got c,d\.\nFor example: text_column=text"):
        other_columns(single, ["c", "d"], "text_column")
