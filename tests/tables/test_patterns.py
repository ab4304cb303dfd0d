"""Several files by a pattern: one table in sorted order, with messages that name file and row."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src import train as training
from src.data import corpus
from src.errors import UserError
from src.runs.folder import RunFolder
from tests.conftest import composed, power_cut, refusal
from tests.runs.foreign_runs import explained_texts
from tests.tables.files import csv, jsonl, parquet, put, tree
from tests.tables.test_odd_input import settings

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


def part(name: str, count: int = 30) -> list[tuple[str, str]]:
    return [(f"{name} {i}", ("no", "maybe", "yes")[i % 3]) for i in range(count)]


FILES = {"b.csv": csv(part("b")), "a.csv": csv(part("a")), "c.csv.gz": gzip.compress(csv(part("c"))), "d.txt": b"x\n"}


def texts(path: Path) -> list[str]:
    cfg = settings(path.parent).model_copy(update={"path": str(path)})  # Hydra would take [ for a list
    splits = corpus.load(cfg).splits.values()
    rows = sorted(pair for split in splits for pair in zip(split.rows.tolist(), split.texts, strict=True))
    return [text for _, text in rows]


def test_all_files_that_match_are_read_in_sorted_order(tmp_path: Path) -> None:
    tree(FILES)(tmp_path)
    a, b, c = ([text for text, _ in part(name)] for name in "abc")
    assert texts(tmp_path / "*.csv") == a + b
    assert texts(tmp_path / "*.csv*") == a + b + c
    assert texts(tmp_path / "[bc].csv*") == b + c
    assert texts(tmp_path / "?.csv.gz") == c
    tree({"2025/x/b.csv": csv(part("y")), "2026/a.csv": csv(part("z"))})(tmp_path / "logs")
    y, z = ([text for text, _ in part(name)] for name in "yz")
    assert texts(tmp_path / "logs" / "**" / "*.csv") == y + z
    assert texts(tmp_path / "logs" / "**") == y + z
    tree({"a.parquet": parquet(), "b.parquet": parquet()})(tmp_path / "typed")
    assert len(texts(tmp_path / "typed" / "*.parquet")) == 60


def test_a_file_that_is_called_like_a_pattern_is_itself(tmp_path: Path) -> None:
    tree({"a[1].csv": csv(part("one")), "a1.csv": csv(part("other"))})(tmp_path)
    assert texts(tmp_path / "a[1].csv") == [text for text, _ in part("one")]


REFUSED: dict[str, tuple[str, str]] = {
    "nothing": ("*.tsv", r"data\.path must match a file; \S+\*\.tsv matches none\.\nCheck"),
    "no folder": ("none/*.csv", "matches none"),
    "kinds": ("[a-e].*", r"must match files of one kind; .* matches \S+a\.csv \(\.csv\), \S+e\.jsonl \(\.jsonl\)\.\n"),
    "no data": ("*.md", r"must match data files alone .* matches \S+f\.md, which is not one\."),
    "a folder": ("g*", r"matches \S+g, which is not a file\."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_matches_are_refused(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern, message = REFUSED[case]
    tree({"a.csv": csv(), "b.csv": csv(), "e.jsonl": jsonl(), "g/a.csv": csv(), "f.md": b"x"})(tmp_path)
    given = ["data=table", f"data.path={tmp_path / pattern}", f"run={tmp_path / 'run'}"]
    assert re.search(message, refusal("train", given, capsys))
    assert not (tmp_path / "run").exists()


BAD: dict[str, tuple[bytes, str]] = {
    "no text": (csv([*part("b"), (" ", "no")]), r"/b\.csv has 1 row with no text in column 'text': line 32\."),
    "no label": (csv([*part("b"), ("x", "")]), r"/b\.csv has 1 row with no label in column 'label': line 32\."),
    "a written list": (csv([*part("b"), ("x", "['a']")]), r"/b\.csv line 32 has the text"),
    "a rare label": (csv([*part("b"), ("x", "rare")]), r"\*\.csv: 'rare' \(1: line 32 of \S+/b\.csv\)"),
    "another header": (csv(part("b"), header="text,lable"), r"/b\.csv has 30 rows with no label .*: line 2, 3"),
    "ragged": (csv() + b"a,b,c\n", r"b\.csv must have the header's 2 fields; line 32 has 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_messages_name_the_file_and_its_row(case: str, tmp_path: Path) -> None:
    content, message = BAD[case]
    tree({"a.csv": csv(part("a")), "b.csv": content, "c.csv": csv(part("c"))})(tmp_path)
    with pytest.raises(UserError, match=message):
        corpus.load(settings(tmp_path / "*.csv"))


@pytest.mark.parametrize("change", ["other text", "other label", "file more", "file less"])
def test_a_run_is_not_resumed_with_other_files(change: str, run_tiny: Run, tmp_path: Path) -> None:
    tree({"a.csv": csv(part("a")), "b.csv": csv(part("b"))})(tmp_path / "data")
    with power_cut(1, 1):
        run_tiny("model=bert_linear", "data=table", f"data.path={tmp_path / 'data' / '*.csv'}", "data.batch_size=8")
    content = {
        "other text": {"b.csv": csv(part("B"))},
        "other label": {
            "b.csv": csv((text, {"no": "yes", "yes": "no"}.get(label, label)) for text, label in part("b"))
        },
        "file more": {"c.csv": csv(part("c"))},
        "file less": {},
    }[change]
    tree(content)(tmp_path / "data")
    if change == "file less":
        (tmp_path / "data" / "b.csv").unlink()
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"must go on with the data(.*\n)+.*(texts|targets) of (train|validation|test)"):
        training.train(composed(f"run={folder.path}", "resume=true"), folder)
    tree({"a.csv": csv(part("a")), "b.csv": csv(part("b"))})(tmp_path / "data")
    (tmp_path / "data" / "c.csv").unlink(missing_ok=True)
    training.train(composed(f"run={folder.path}", "resume=true"), folder)


def test_predictions_of_several_files_are_one_after_the_other(
    finished: RunFolder, said: Callable[..., str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree({"b.jsonl": jsonl(part("b")), "a.jsonl": jsonl([*part("a"), (" ", "no")])})(tmp_path)
    caplog.set_level(logging.WARNING)
    found = [json.loads(line) for line in said(run=str(finished.path), input=str(tmp_path / "*.jsonl")).splitlines()]
    assert [row["text"] for row in found] == [text for text, _ in part("a")] + [" "] + [text for text, _ in part("b")]
    assert [bool(row["prediction"]) for row in found] == [True] * 30 + [False] + [True] * 30
    assert f"1 row without a text got no label: line 31 of {tmp_path / 'a.jsonl'}" in caplog.text
    with pytest.raises(UserError, match=rf"output must be another file than input; both are {tmp_path / 'b.jsonl'}"):
        said(run=str(finished.path), input=str(tmp_path / "*.jsonl"), output=str(tmp_path / "b.jsonl"))
    with pytest.raises(UserError, match=r"input must match a file; .*\*\.csv matches none"):
        said(run=str(finished.path), input=str(tmp_path / "*.csv"))
    (tmp_path / "c.csv").write_bytes(csv())
    with pytest.raises(UserError, match="input must match files of one kind"):
        said(run=str(finished.path), input=str(tmp_path / "*"))


def test_the_first_rows_of_several_files_are_explained(finished: RunFolder, tmp_path: Path) -> None:
    tree({"b.csv": csv(part("b")), "a.csv": csv(part("a"))})(tmp_path)
    pattern = tmp_path / "*.csv"
    expected = [text for name in "ab" for text, _ in part(name)][:40]
    assert explained_texts(finished, input=str(pattern), limit=40) == expected
    put(tmp_path / "b.csv", csv([(" ", "no"), *part("b")]))
    with pytest.raises(UserError, match=rf"has none in line 2 of {tmp_path / 'b.csv'}\."):
        explained_texts(finished, input=str(pattern), limit=40)
