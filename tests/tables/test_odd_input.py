"""What only looks bad is taken: line ends, marks, odd texts and labels, workbooks that say little of themselves."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from src.config.data import Data
from src.data import corpus
from src.errors import UserError
from src.tables.tables import first_rows, read_table, stream_tables
from tests.conftest import composed
from tests.tables.files import ROWS, SHEET, csv, jsonl, labels, parquet, put, rewritten, xlsx

ALIKE: dict[str, tuple[str, Any]] = {
    "mark": ("a.csv", b"\xef\xbb\xbf" + csv()),
    "line feeds and carriage returns": ("a.csv", csv().replace(b"\n", b"\r\n")),
    "carriage returns": ("a.csv", csv().replace(b"\n", b"\r")),
    "no line feed at the end": ("a.csv", csv()[:-1]),
    "quotes": ("a.csv", csv((f'"{text}"', f'"{label}"') for text, label in ROWS)),
    "spaces": ("a.csv", csv(((text, f"  {label}\t") for text, label in ROWS), header=" text , label ")),
    "tabs": ("a.tsv", csv().replace(b",", b"\t")),
    "jsonl": ("a.jsonl", jsonl()),
    "jsonl with a mark": ("a.jsonl", b"\xef\xbb\xbf" + jsonl().replace(b"\n", b"\r\n")),
    "workbook": ("a.xlsx", xlsx),
    "workbook with more sheets": ("a.xlsx", lambda: xlsx(change=lambda book: book.create_sheet("more").append(["x"]))),
    "workbook that says it is small": ("a.xlsx", lambda: rewritten(SHEET, b'"A1:B31"', b'"A1:A2"')),
    "workbook that says it is huge": ("a.xlsx", lambda: rewritten(SHEET, b'"A1:B31"', b'"A1:XFD1048576"')),
    "parquet": ("a.parquet", parquet),
}


def settings(path: Path, **changes: Any) -> Data:
    values: Any = composed("data=table", f"data.path={path}").data
    return Data.model_validate({**values, **changes})


@pytest.mark.parametrize("case", ALIKE)
def test_what_means_the_same_gives_the_same_corpus(case: str, tmp_path: Path) -> None:
    name, content = ALIKE[case]
    same = corpus.load(settings(put(tmp_path / "same.csv", csv())))
    found = corpus.load(settings(put(tmp_path / name, content)))
    first = 1 if name.endswith(("jsonl", "parquet")) else 2
    assert found.space == same.space
    for split, expected in found.splits.items():
        assert expected.texts == same.splits[split].texts
        assert expected.targets.tolist() == same.splits[split].targets.tolist()
        assert (expected.rows - first).tolist() == (same.splits[split].rows - 2).tolist()


ODD = [
    *("NA", "null", "nan", "None", "0", "#N/A", "=1+1", "-", "\u200b", "\u2028", "\x1c", "\x85x"),
    *("\U0001f9d1\u200d\U0001f680 \U0001f1ea\U0001f1fa", "שלום עולם \u202eabc", "e\u0301 é", "\ufeff", "\x07"),
]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_texts_that_look_like_nothing_are_texts(name: str, tmp_path: Path) -> None:
    kept = [text for text in ODD if text.strip()]
    rows = [(text, "ab"[i % 2]) for i, text in enumerate(kept * 4)]
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    contents = {"a.csv": csv, "a.jsonl": jsonl, "a.parquet": lambda rows: parquet(**columns)}
    splits = corpus.load(settings(put(tmp_path / name, contents[name](rows)))).splits
    assert {text for split in splits.values() for text in split.texts} == set(kept)


LABELS: dict[str, tuple[list[Any], tuple[str, ...]]] = {
    "numbers": ([1, 1.0, "1", 0], ("0", "1")),
    "texts of numbers": (["1", "1.00", "01"], ("1", "1.00", "01")),
    "numbers and words": ([1, "one"], ("1", "one")),
    "large numbers": ([2**60, 2**60 + 1], (str(2**60), str(2**60 + 1))),
    "underscores": (["1_0", "10"], ("10", "1_0")),
    "other digits": (["\u0661", "1"], ("1", "\u0661")),
    "not a number": (["NAN", "-inf"], ("-inf", "NAN")),
    "white space": (["a\u00a0 b", " a b ", "c\n"], ("a b", "c")),
    "truth": ([True, False, "True"], ("False", "True")),
    "other scripts": (["שלום", "👍"], ("שלום", "👍")),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_are_told_apart_by_what_they_mean(case: str, tmp_path: Path) -> None:
    values, names = LABELS[case]
    assert set(corpus.load(settings(put(tmp_path / "a.jsonl", labels(*values)))).space.names) == set(names)


def test_texts_in_several_splits_and_sheets_that_are_not_read_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "test.csv", csv([*ROWS[:3], ("new", "no")]))
    put(tmp_path / "train.xlsx", xlsx(change=lambda book: book.create_sheet("more")))
    put(tmp_path / "validation.csv", csv(ROWS[2:5]))
    corpus.load(settings(tmp_path))
    assert [record.message.partition(": scores")[0] for record in caplog.records if record.levelno > logging.INFO] == [
        f"{tmp_path / 'train.xlsx'} has the sheets 'Sheet', 'more'; only the first is read.",
        "3 texts occur in both train and validation (leakage)",
        "3 texts occur in both train and test (leakage)",
        "1 text occurs in both validation and test (leakage)",
    ]


@pytest.mark.parametrize("later", [b"\n", b'{"text": "c"}\n'])
def test_later_rows_of_json_may_lack_what_earlier_ones_have(later: bytes, tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", b'{"text": "a"}\n{"text": "b", "x": 1}\n' + later)
    *_, last = stream_tables(path, 2)
    assert last.columns == {"text": [None if later == b"\n" else "c"], "x": [None]}


@pytest.mark.parametrize("wide", [1, 2_000])
def test_keys_of_json_are_limited_where_not_all_rows_have_them(wide: int, tmp_path: Path) -> None:
    first = {"text": "a"} | {f"k{i}": i for i in range(wide - 1)}
    rows = [first] * 2 + [{"text": "b", f"new{i}": 1} for i in range(1_000)]
    path = put(tmp_path / "a.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows).encode())
    line = 3 if wide > 1_000 else 1_002
    with pytest.raises(UserError, match=f"at most 1,000 different keys, unless .*; line {line} has one more: 'new"):
        read_table(path)
    assert len(first_rows(path, 2).columns) == wide
