"""Which files are which split: all that a folder holds is read, refused or named, and nothing is cut from train in
place of what is there."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet
import pytest

from src.data import corpus
from src.errors import UserError
from src.runs.folder import RunFolder
from tests.conftest import refusal
from tests.tables.files import csv, json_list, jsonl, parquet, tree
from tests.tables.test_odd_input import settings


def part(name: str, count: int = 9) -> list[tuple[str, str]]:
    """Rows that say what they were written for."""
    return [(f"{name} {i}", ("no", "maybe", "yes")[i % 3]) for i in range(count)]


def read(path: Path, **changes: Any) -> dict[str, set[str]]:
    """What the texts of each split were written for."""
    splits = corpus.load(settings(path, **changes)).splits
    return {name: {text.split()[0] for text in split.texts} for name, split in splits.items()}


TRAIN = csv(part("train", 30))
A, B, V, W, T = (csv(part(name)) for name in ("a", "b", "v", "w", "t"))

# Files, and for which splits their texts were written.
READ: dict[str, tuple[dict[str, bytes], dict[str, set[str]]]] = {
    "packed": ({"train.csv": TRAIN, "test.csv.gz": gzip.compress(T)}, {"test": {"t"}}),
    "json and eval": ({"train.csv": TRAIN, "eval.csv": V, "test.json": json_list(part("t"))}, {"validation": {"v"}}),
    "evaluation": ({"train.csv": TRAIN, "evaluation.jsonl": jsonl(part("v")), "testing.csv": T}, {"test": {"t"}}),
    "capitals": ({"TRAIN.CSV": TRAIN, "Dev.JSONL.GZ": gzip.compress(jsonl(part("v")))}, {"validation": {"v"}}),
    "shards": (
        {
            "train-00000-of-00002.csv": TRAIN,
            "train-00001-of-00002.csv": A,
            "validation-00000-of-00001-0a1b2c3d.csv": V,
            "test-00000-of-00002.csv.gz": gzip.compress(T),
            "test-00001-of-00002.jsonl": jsonl(part("b")),
        },
        {"train": {"train", "a"}, "validation": {"v"}, "test": {"t", "b"}},
    ),
    "a repository of the hub": (
        {
            "README.md": b"",
            ".gitattributes": b"",
            "data/train-00000-of-00001.csv": TRAIN,
            "data/test-00000-of-00001.csv": T,
        },
        {"train": {"train"}, "test": {"t"}},
    ),
    "some in data": ({"train.csv": TRAIN, "data/test.csv": T}, {"test": {"t"}}),
    "matched": (
        {"train.csv": TRAIN, "dev_matched.csv": V, "test_matched-00000-of-00001.csv": T},
        {"validation": {"v"}, "test": {"t"}},
    ),
    "mismatched alone": ({"train.csv": TRAIN, "validation_mismatched.csv": W}, {"validation": {"w"}}),
    "both": (
        {"train.csv": TRAIN, "validation_matched.csv": V, "validation_mismatched.csv": W},
        {"validation": {"v"}},
    ),
}


@pytest.mark.parametrize("case", READ)
def test_every_split_that_is_given_is_read(case: str, tmp_path: Path) -> None:
    files, expected = READ[case]
    tree(files)(tmp_path)
    found = read(tmp_path)
    assert {name: found[name] for name in expected} == expected
    assert {text for name, texts in found.items() if name not in expected for text in texts} <= {"train", "v", "t"}


def test_what_is_read_and_what_is_not_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["test_labels.csv", "x.docx", "old/train.csv", "README.md", ".hidden", "LICENSE", "_SUCCESS"]
    tree({"train.csv": TRAIN, "dev.csv": V, "train.log": b"x", **dict.fromkeys(names, b"x")})(tmp_path)
    caplog.set_level(logging.INFO)
    read(tmp_path)
    assert [record.message for record in caplog.records][:3] == [
        f"Splits of {tmp_path}: train (train.csv), validation (dev.csv)",
        f"{tmp_path}: not read, since name or format is not that of a split: test_labels.csv, old, train.log, x.docx",
        "Taken from the 30 rows of train, since no such split is given: 3 rows for test",
    ]


def test_of_two_kinds_of_validation_it_is_told_which_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(READ["both"][0])(tmp_path)
    read(tmp_path)
    assert f"{tmp_path}: not read, since there are matched ones: validation_mismatched.csv" in caplog.messages


REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "both names": ({"dev.csv": V, "validation.csv": V}, r"dev\.csv and validation\.csv are both validation\.\nRename"),
    "packed and plain": ({"test.csv": T, "test.csv.gz": b""}, r"test\.csv and test\.csv\.gz are both test"),
    "shard and whole": ({"test.csv": T, "test-00000-of-00001.csv": T}, "are both test"),
    "shards of two": ({"test-00000-of-00001.csv": T, "test-00001-of-00002.csv": T}, "are both test"),
    "shard twice": ({"test-00000-of-00001.csv": T, "data/test-00000-of-00001.csv": T}, "are both test"),
    "matched and neither": ({"test.csv": T, "test_matched.csv": T}, r"test\.csv and test_matched\.csv are both test"),
    "a shard less": (
        {"test-00000-of-00003.csv": T, "test-00002-of-00003.csv": T},
        r"all 3 parts of test; part 1 \(counted from 0\) is missing",
    ),
    "archive": (
        {"test.csv.zip": T},
        r"test split must be one of \.csv.* holds test\.csv\.zip\.\n.*ignore_splits=\[test\]",
    ),
    "document": ({"data/Validation.docx": T}, r"holds data/Validation\.docx\.\n.*ignore_splits=\[validation\]"),
    "folder of texts": ({"test/positive/1.txt": T}, "The test split must be one of .* holds test"),
    "secret labels": (
        {"test.csv": csv((text, "-1") for text, _ in part("t"))},
        r"test\.csv are hidden, all are -1\.\nOr take this split from train instead: data\.ignore_splits=\[test\]",
    ),
    "no labels": (
        {"test.csv": csv((text, "") for text, _ in part("t"))},
        r"test\.csv has 9 rows with no label .*: line 2, 3, .*\n.*\nOr take .*data\.ignore_splits=\[test\]",
    ),
    "no column of labels": (
        {"test.csv": b"text\na\nb\n"},
        r"data\.label must name a column of .*test\.csv; (.*\n)+Or take .*data\.ignore_splits=\[test\]",
    ),
    "a row of a shard": (
        {"dev-00000-of-00002.csv": V, "dev-00001-of-00002.csv": W + b" ,no\n"},
        r"dev-00001-of-00002\.csv has 1 row with no text in column 'text': line 11\.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_passed_over_is_refused(case: str, tmp_path: Path) -> None:
    files, message = REFUSED[case]
    tree({"train.csv": TRAIN, **files})(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("case", ["archive", "secret labels", "no labels", "no column of labels"])
def test_a_split_that_is_left_out_is_cut_from_train(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree({"train.csv": TRAIN, "dev.csv": V, **REFUSED[case][0]})(tmp_path)
    caplog.set_level(logging.INFO)
    found = read(tmp_path, ignore_splits=["test"])
    assert found == {"train": {"train"}, "validation": {"v"}, "test": {"train"}}
    assert "Taken from the 30 rows of train, since no such split is given: 3 rows for test" in caplog.messages
    assert case == "archive" or "Left out by data.ignore_splits: test.csv" in caplog.messages


def test_a_label_of_minus_one_is_a_label_where_train_has_it(tmp_path: Path) -> None:
    rows = [(f"train {i}", str(i % 3 - 1)) for i in range(30)]
    tree({"train.csv": csv(rows), "test.csv": csv((text, "-1") for text, _ in part("t"))})(tmp_path)
    assert read(tmp_path)["test"] == {"t"}


def test_rows_of_shards_are_counted_through(tmp_path: Path) -> None:
    tree({"train-00000-of-00002.parquet": parquet(), "train-00001-of-00002.parquet": parquet()})(tmp_path)
    rows = [row for split in corpus.load(settings(tmp_path)).splits.values() for row in split.rows]
    assert sorted(rows) == list(range(1, 61))


def test_one_shard_alone_is_told_to_be_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree({"train-00000-of-00002.csv": TRAIN})(tmp_path)
    read(tmp_path / "train-00000-of-00002.csv")
    assert f"train-00000-of-00002.csv is one of 2 parts; data.path={tmp_path} reads them all" in caplog.text


def test_a_pipe_among_the_files_is_refused(tmp_path: Path) -> None:
    tree({"train.csv": TRAIN})(tmp_path)
    os.mkfifo(tmp_path / "test.csv")
    with pytest.raises(UserError, match=r"test\.csv must be a file; it is a device, a pipe or a socket"):
        read(tmp_path)


def saved(name: str, labels: int | None = None) -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    values = [i % 2 if labels is None else labels for i in range(20)]
    return datasets.Dataset.from_dict({"text": [f"{name} {i}" for i in range(20)], "label": values}, features=features)


def test_splits_may_be_saved_data_sets_of_their_own(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        saved(name).save_to_disk(tmp_path / name)
    (tmp_path / "test.jsonl").write_bytes(jsonl([("t 1", "bad"), ("t 2", "good")]))
    assert read(tmp_path) == {"train": {"train"}, "validation": {"dev"}, "test": {"t"}}


def test_splits_of_a_saved_data_set_are_named_as_those_of_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("train", "validation_matched", "validation_mismatched", "test_matched", "unsupervised")
    datasets.DatasetDict({name: saved(name) for name in names}).save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one") == {
        "train": {"train"},
        "validation": {"validation_matched"},
        "test": {"test_matched"},
    }
    assert f"{tmp_path / 'one'}: not read, since there are matched ones: validation_mismatched" in caplog.messages
    assert "of a split: unsupervised" in caplog.text
    datasets.DatasetDict({name: saved(name) for name in ("train", "dev", "valid")}).save_to_disk(tmp_path / "two")
    with pytest.raises(UserError, match="dev and valid are both validation"):
        read(tmp_path / "two")


def test_hidden_labels_name_the_key_that_leaves_them_out(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": saved("train"), "test": saved("test", -1)}).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match=r"20 rows with no label .*\n.*\n.*data\.ignore_splits=\[test\]"):
        read(tmp_path / "d")
    assert read(tmp_path / "d", ignore_splits=["test"])["test"] == {"train"}


def test_a_run_is_tested_on_the_packed_file(
    run_tiny: Callable[..., tuple[RunFolder, dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree({"train.csv": TRAIN, "dev.csv": V, "test.csv.gz": gzip.compress(T)})(tmp_path / "data")
    folder, result = run_tiny("model=bert_linear", "data=table", f"data.path={tmp_path / 'data'}")
    assert result["texts"] == {"train": 30, "validation": 9, "test": 9}
    rows = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet").to_pylist()
    assert {row["text"]: row["true"] for row in rows} == dict(part("t"))
    said = refusal("train", ["data=table", "data.path=x", "data.ignore_splits=test"], capsys)
    assert "It should be a valid list" in said
