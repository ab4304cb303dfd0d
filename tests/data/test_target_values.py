"""Target numbers: what is read, how they are divided into splits, what is refused."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from src.data import corpus
from src.data.folds import divide
from src.data.split import quantiles
from src.errors import UserError
from tests.data.test_data import settings, write_csv

HEADER = ("text", "score", "price")
ROWS = [(f"text {i}", f"{i % 17 / 4:g}", 1000 + 3.5 * i) for i in range(120)]
NUMBERS: dict[str, Any] = {"label": "score", "task": "regression"}


def test_numbers_are_targets_with_their_mean_and_spread_in_training(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "data.csv", ROWS, HEADER)
    found = corpus.load(settings(file, label=["score", "price"], task="regression"))
    assert (found.space.objective, found.space.names, found.space.outputs) == ("regression", ("score", "price"), 2)
    train = found.splits["train"]
    assert train.targets.dtype == np.float32
    assert train.targets.tolist() == [[float(ROWS[row - 2][1]), ROWS[row - 2][2]] for row in train.rows]
    assert found.space.mean == pytest.approx(train.targets.mean(0))
    assert found.space.std == pytest.approx(train.targets.std(0))
    assert "regression of score (mean" in found.describe()


def test_splits_have_numbers_of_all_sizes(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "data.csv", [(t, i, p) for i, (t, _, p) in enumerate(ROWS)], HEADER)
    found = corpus.load(settings(file, **NUMBERS, train_size=40))
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 40, "validation": 24, "test": 12}
    for split in found.splits.values():
        assert np.median(split.targets) == pytest.approx(59.5, abs=8)
    assert corpus.load(settings(file, **NUMBERS, limit=2)).splits["train"].targets.shape == (2, 1)
    parts = [corpus.load(settings(file, **NUMBERS, folds=4, fold=fold)).splits["test"] for fold in range(4)]
    assert sorted(row for part in parts for row in part.rows) == [*range(2, 122)]
    for part in parts:
        assert np.median(part.targets) == pytest.approx(59.5, abs=8)


def test_quantiles() -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    assert np.bincount(quantiles(numbers, 10)).tolist() == [20] * 10
    assert (np.diff(quantiles(np.sort(numbers, axis=0), 10)) >= 0).all()
    assert set(quantiles(numbers, 0)) == {0}
    assert len(set(quantiles(np.float32([[0]] * 9 + [[1]]), 10))) <= 2  # equal numbers are in one
    few = np.float32([[0]] * 297 + [[1], [2], [3]])  # too few for a place in each of five folds
    assert set(quantiles(few, 10)) == {0}
    assert np.bincount(divide(quantiles(numbers, 10), 5, 0)).tolist() == [40] * 5


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "no number in column 'score': line 4"),
        ("high", "something other than a number in column 'score', 'high': line 4"),
        ("1,5", "something other than a number in column 'score', '1,5': line 4"),
        ("nan", "NaN or an infinite number in column 'score': line 4"),
        ("inf", "NaN or an infinite number in column 'score': line 4"),
        ("1e39", r"a number beyond 3.4e\+38 in column 'score': line 4"),  # of float32
    ],
)
def test_what_is_no_number_is_named_with_its_row(value: str, problem: str, tmp_path: Path) -> None:
    rows = [list(row) for row in ROWS]
    rows[2][1] = value
    file = write_csv(tmp_path / "data.csv", [tuple(row) for row in rows], HEADER)
    with pytest.raises(UserError, match=problem):
        corpus.load(settings(file, **NUMBERS))


@pytest.mark.parametrize(("value", "word"), [(None, "no number"), (math.nan, "NaN"), (True, "other"), (10**400, "inf")])
def test_typed_values(value: object, word: str, tmp_path: Path) -> None:
    from src.data.target_values import read_targets
    from src.tables.tables import Table

    table = Table("a.jsonl", {"score": [1, value]}, [1, 2])
    with pytest.raises(UserError, match=word):
        read_targets(table, settings(None, **NUMBERS))
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [r[0] for r in ROWS], "score": [*range(120)]}), file)
    assert corpus.load(settings(file, **NUMBERS)).space.names == ("score",)


def test_constant_targets_are_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "data.csv", [(t, "2.5", p) for t, _, p in ROWS], HEADER)
    with pytest.raises(UserError, match=r"must differ between texts; .* in column 'score' are all about 2\.5"):
        corpus.load(settings(file, **NUMBERS))


def test_one_training_text_is_too_few(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "data.csv", ROWS, HEADER)
    with pytest.raises(UserError, match=r"at least two training texts.*\n.*data\.train_size"):
        corpus.load(settings(file, **NUMBERS, train_size=1))


def test_a_target_may_not_be_named_twice() -> None:
    with pytest.raises(ValidationError, match="must list different columns; got score twice"):
        settings(None, label=["score", "score"], task="regression")


def test_regression_is_suggested_but_never_inferred(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_csv(tmp_path / "data.csv", ROWS, HEADER)
    with pytest.raises(UserError, match=r"120 different numbers with fractions .*\n.*data\.task=regression"):
        corpus.load(settings(file, label="price"))
    with caplog.at_level(logging.WARNING):
        assert corpus.load(settings(file, label="score", test_fraction=0.2)).space.objective == "multiclass"
    assert "To predict numbers: data.task=regression" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [{"class_weights": "balanced"}, {"sampling": "balanced"}, {"label_names": ["a", "b"]}, {"label_delimiter": "|"}],
)
def test_what_is_for_classes_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is for classes; task=regression predicts numbers"):
        settings(None, **NUMBERS, **changes)
