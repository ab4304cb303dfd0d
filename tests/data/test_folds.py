"""Cross-validation and learning curves: folds partition the texts, subsets are nested, both are stratified."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.arrays import NDArray
from src.config.data import Data
from src.data import corpus
from src.data.corpus import Corpus
from src.data.cuts import training_subset
from src.data.folds import text_numbers
from src.data.split import Split
from src.data.stratify import nested
from src.errors import UserError
from tests.conftest import composed, refusal
from tests.data.test_data import settings, write_csv

NAMES = ("train", "validation", "test")
TEXTS = [(f"text number {i}", "abc"[min(i % 5, 2)]) for i in range(103)]  # a, b and three times as many c
FEW = [*TEXTS, *((f"rare {i}", "rare") for i in range(4))]


def folds(path: Path, count: int = 5, **changes: Any) -> list[Corpus]:
    return [corpus.load(settings(path, folds=count, fold=fold, **changes)) for fold in range(count)]


def rows(split: Split) -> list[int]:
    return split.rows.tolist()


def included(data: str, **changes: Any) -> Corpus:
    return corpus.load(Data.model_validate({**composed(f"data={data}").data, **changes}))


@pytest.mark.parametrize("count", [2, 5, 10])
@pytest.mark.parametrize("repeat", [0, 3])
def test_each_text_is_tested_once_and_all_are_used_in_every_fold(count: int, repeat: int, tmp_path: Path) -> None:
    found = folds(write_csv(tmp_path / "data.csv", TEXTS), count, repeat=repeat)
    everything = list(range(2, 105))
    assert sorted(row for each in found for row in rows(each.splits["test"])) == everything
    for each in found:
        assert sorted(row for split in each.splits.values() for row in rows(split)) == everything
        assert each.texts == [text for text, _ in TEXTS]
        for split in each.splits.values():
            assert split.texts == [each.texts[i] for i in split.positions]


def test_folds_and_their_validation_parts_are_stratified(tmp_path: Path) -> None:
    for each in folds(write_csv(tmp_path / "data.csv", TEXTS)):
        assert abs(len(each.splits["test"]) - 103 / 5) < 1.5
        for name, share in (("test", 0.2), ("validation", 0.16), ("train", 0.64)):
            counts = np.bincount(each.splits[name].targets)
            assert np.abs(counts - share * np.array([21, 21, 61])).max() <= 1.5


@pytest.mark.rare
def test_folds_depend_on_the_seed_of_the_data_and_the_repeat_alone(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", TEXTS)
    first, again = folds(path), folds(path)
    for name in NAMES:
        assert [rows(each.splits[name]) for each in first] == [rows(each.splits[name]) for each in again]
    for change in ({"repeat": 1}, {"seed": 7}):
        pairs = zip(first, folds(path, **change), strict=True)
        assert all(rows(one.splits["test"]) != rows(other.splits["test"]) for one, other in pairs)


def test_folds_are_stratified_with_several_labels() -> None:
    found = [included("reviews_aspects", folds=5, fold=fold) for fold in range(5)]
    tested = [row for each in found for row in rows(each.splits["test"])]
    assert sorted(tested) == sorted({*tested})
    assert len(tested) == 960
    whole = sum(each.splits["test"].targets.sum(0) for each in found)
    for each in found:
        assert abs(len(each.splits["test"]) - 192) <= 6
        # Of every label a fifth: at random, the standard deviation would be about 5.
        assert np.abs(each.splits["test"].targets.sum(0) - whole / 5).max() <= 2
        assert np.abs(each.splits["validation"].targets.sum(0) - whole * 0.16).max() <= 3


COPIES = [
    *TEXTS,
    *(("  Text  NUMBER 7\t", "c") for _ in range(5)),
    ("text number 11", "a"),
    ("\uff54ext number 12", "b"),
    *((f"{word} the waiter brought us the wrong dish twice that evening", "a") for word in ("So", "Then", "And", "Oh")),
]


def test_copies_of_a_text_are_in_the_same_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(tmp_path / "data.csv", COPIES)
    tested = []
    for each in folds(path):
        places = {name: {*text_numbers_of(split, each)} for name, split in each.splits.items()}
        assert not places["train"] & places["test"] | places["train"] & places["validation"]
        assert not places["validation"] & places["test"]
        tested += rows(each.splits["test"])
    assert sorted(tested) == list(range(2, 2 + len(COPIES)))
    assert "leakage" not in caplog.text


def text_numbers_of(split: Split, whole: Corpus) -> list[int]:
    return text_numbers(whole.texts)[split.positions].tolist()


def test_copies_differ_in_case_punctuation_and_unicode_form() -> None:
    assert text_numbers(["b a", "c", "B  a ", "\uff42 a", "b-a!", "c", "a b"]).tolist() == [0, 1, 0, 0, 0, 1, 2]


def test_near_copies_are_one_text() -> None:
    long = "the waiter was friendly and brought us the wrong dish at least twice that evening"
    other = "we came back a week later and found the place closed for good without a note"
    assert text_numbers([f"In short: {long}", other, f"{long}!!", long.replace("wrong", "cold")]).tolist() == [
        0,
        1,
        0,
        2,
    ]


def test_given_splits_are_pooled_with_row_numbers_that_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = {"train": TEXTS[:60], "validation": TEXTS[60:80], "test": TEXTS[80:]}
    for name, part in parts.items():
        write_csv(tmp_path / f"{name}.csv", part)
    caplog.set_level("INFO")
    found = folds(tmp_path)
    assert "the given splits are pooled: train (60 rows) and validation (20 rows) and test (23 rows)" in caplog.text
    assert found[0].texts == [text for text, _ in TEXTS]
    tested = [each.splits["test"] for each in found]
    texts = {row: text for split in tested for row, text in zip(rows(split), split.texts, strict=True)}
    assert len(texts) == 103
    # Each file has a header: its rows begin with line 2.
    assert [texts[row] for row in (2, 61, 63, 82, 84)] == [TEXTS[i][0] for i in (0, 59, 60, 79, 80)]
    left_out = corpus.load(settings(tmp_path, folds=5, fold=0, ignore_splits=["test"]))
    assert left_out.texts == [text for text, _ in TEXTS[:80]]


@pytest.mark.parametrize("bad", ["train-00000-of-00002", "train-00001-of-00002", "test"])
def test_a_row_without_a_label_is_named_by_its_own_file(bad: str, tmp_path: Path) -> None:
    parts = {"train-00000-of-00002": TEXTS[:30], "train-00001-of-00002": TEXTS[30:60], "test": TEXTS[60:]}
    for name, part in parts.items():
        write_csv(tmp_path / f"{name}.csv", [part[0], ("no label", ""), *part[1:]] if name == bad else part)
    with pytest.raises(UserError, match=rf"{bad}\.csv has 1 row with no label in column 'label': line 3\."):
        corpus.load(settings(tmp_path, folds=5, fold=0))


def test_a_given_split_without_the_column_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", TEXTS[:60])
    write_csv(tmp_path / "test.csv", TEXTS[60:], ("text", "topic"))
    with pytest.raises(UserError, match=r"data\.label must name a column of \S+test\.csv; got 'label'"):
        corpus.load(settings(tmp_path, folds=5, fold=0))


def test_hidden_labels_are_refused_and_can_be_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", TEXTS)
    write_csv(tmp_path / "test.csv", [(f"hidden {i}", "-1") for i in range(20)])
    with pytest.raises(UserError, match=r"hidden, all are -1\.\nOr leave this split out: data\.ignore_splits=\[test\]"):
        corpus.load(settings(tmp_path, folds=5, fold=0))
    assert len(corpus.load(settings(tmp_path, folds=5, fold=0, ignore_splits=["test"])).texts) == 103


def test_limit_takes_so_many_of_all_texts(tmp_path: Path) -> None:
    found = folds(write_csv(tmp_path / "data.csv", TEXTS), limit=50)
    tested = sorted(row for each in found for row in rows(each.splits["test"]))
    assert len(tested) == len({*tested}) == 50
    assert all(each.texts == found[0].texts and len(each.texts) == 50 for each in found)


def test_texts_without_labels_have_folds_too(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(f"text {i}" for i in range(41)))
    data = composed("data=lines", f"data.path={tmp_path / 'texts.txt'}", "model=bert_mlm").data
    found = [corpus.load(Data.model_validate({**data, "folds": 4, "fold": i}), masked=True) for i in range(4)]
    assert sorted(row for each in found for row in rows(each.splits["test"])) == list(range(1, 42))


REFUSED = {
    "no fold": (r"^data needs data\.fold, .*, from 0 to 4 with data\.folds=5; it has no value\.", "data.folds=5"),
    "fold too large": (r"from 0 to 4 with data\.folds=5; got 5\.", "data.folds=5", "data.fold=5"),
    "negative fold": (r"data\.fold has an invalid value: -1", "data.folds=5", "data.fold=-1"),
    "fold alone": (r"^data needs data\.folds, the number of folds, with data\.fold=1;", "data.fold=1"),
    "one fold": (r"data\.folds has an invalid value: 1\.\nIt should be greater than or equal to 2", "data.folds=1"),
    "rare label": (r"at least 5 different texts, .*data\.folds=5 .*: 'rare' \(4\)\.", "data.folds=5", "data.fold=0"),
    "negative repeat": (r"data\.repeat has an invalid value: -1", "data.folds=4", "data.fold=0", "data.repeat=-1"),
    "no example": (r"train_size must be a number of examples, at least 1, or a frac.*; got 0\.", "data.train_size=0"),
    "a fraction above 1": (r"train_size must be .*; got 1\.5\.", "data.train_size=1.5"),
    "no number": (r"train_size must be .*; got half\.", "data.train_size=half"),
    "more than there are": (r"number of training examples; it is 500, and .* leaves 75 for", "data.train_size=500"),
    "fewer than labels": (r"at least one row per label, here 4; data\.train_size=3 takes 3 of", "data.train_size=3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_value_is_one_message(
    case: str, tmp_path: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, *overrides = REFUSED[case]
    path = write_csv(tmp_path / "data.csv", FEW)
    data = ("data=table", f"data.path={path}", "data.max_length=32", f"backbone.name={tiny_bert}")
    error = refusal("train", [*data, f"run={tmp_path / 'run'}", *overrides], capsys)
    assert re.search(said, error), error
    assert not (tmp_path / "run").exists()


def test_a_rare_label_among_several_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    lines = [{"text": f"t{i}", "label": ["x", "y"] if i < 3 else ["x"]} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=r"fewer in \S+: 'y' \(3\)\."):
        corpus.load(settings(path, folds=3, fold=0))


@pytest.mark.parametrize("fold", [None, 2])
def test_a_smaller_training_subset_is_in_each_larger_one_and_the_rest_stays(fold: int | None, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", TEXTS)
    where: dict[str, Any] = {} if fold is None else {"folds": 5, "fold": fold}
    whole = corpus.load(settings(path, **where))
    before: set[int] = set()
    for size in (3, 10, 0.25, 31, 0.5, 50, 1.0):
        found = corpus.load(settings(path, train_size=size, **where))
        train = found.splits["train"]
        assert len(train) == (size if isinstance(size, int) else round(size * len(whole.splits["train"])))
        assert before < {*rows(train)} or size == 3
        before = {*rows(train)}
        assert found.texts == whole.texts
        for name in ("validation", "test"):
            assert rows(found.splits[name]) == rows(whole.splits[name])
    assert before == {*rows(whole.splits["train"])}


@pytest.mark.parametrize("seed", range(5))
def test_nested_subsets_are_stratified_at_every_size(seed: int) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2, 3], [500, 300, 150, 5]))
    before: set[int] = set()
    for count in range(4, 956, 7):
        chosen = nested(targets, count, seed)
        assert len({*chosen.tolist()}) == count
        assert before < {*chosen.tolist()}
        before = {*chosen.tolist()}
        counts = np.bincount(targets[chosen], minlength=4)
        assert counts.min() >= 1
        # A random sample of half of them would have a standard deviation of 7 or 8 here.
        assert np.abs(counts - count / 955 * np.array([500, 300, 150, 5])).max() <= 4


def test_subsets_of_texts_with_numbers_are_nested_too() -> None:
    numbers = np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)
    train = Split(np.arange(100), [f"text {i}" for i in range(100)], numbers, np.arange(100), numeric=True)
    sets = [{*training_subset(train, size, 42, "data.csv").texts} for size in (5, 10, 25, 50, 75, 90, 97)]
    assert all(small < large for small, large in itertools.pairwise(sets))


def test_nested_subsets_with_several_labels_are_stratified() -> None:
    targets = included("reviews_aspects").splits["train"].targets
    gaps = [gap(targets, count) for count in range(20, 672, 31)]
    assert max(gaps) <= 4
    sets = [{*nested(targets, count, 1).tolist()} for count in (1, 20, 100, 101, 336, 500, 672)]
    assert all(a < b for a, b in itertools.pairwise(sets))


def gap(targets: NDArray[np.float32], count: int) -> float:
    chosen = nested(targets, count, 1)
    assert len(chosen) == count
    return float(np.abs(targets[chosen].sum(0) - count / len(targets) * targets.sum(0)).max())


def test_subsets_depend_on_the_seed_of_the_data(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", TEXTS)
    found = [corpus.load(settings(path, train_size=20, seed=seed)).splits["train"] for seed in (1, 1, 2)]
    assert rows(found[0]) == rows(found[1]) != rows(found[2])
    assert np.abs(np.bincount(found[0].targets) - np.array([4, 4, 12])).max() <= 1
