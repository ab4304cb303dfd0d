"""A finished run as a function of texts, and files through it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openpyxl
import pandas
import pyarrow.parquet
import pytest
import torch

from src.config.folder import CONF
from src.data.labels import LabelSpace
from src.errors import UserError
from src.models import inference
from src.predict import Predictor
from src.prediction import label_file
from src.runs.find import find_run
from src.runs.folder import RunFolder
from src.tables.tables import read_table
from src.tables.writing import FORMULA, LONGEST, Types, open_table
from tests.conftest import PAIRS
from tests.data.test_data import settings

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
HOSTILE = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "'=1+1",
    "''-1 x",
    "'quoted'",
    "-3",
    "1e-3",
    "plain",
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with open_table(path) as add:
        add({key: [row[key] for row in rows] for key in rows[0]})
    return path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_file, "ROWS", 7)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=bert_linear", "freeze=all"),
        ("freeze=none",),
        ("model=bert_linear", "freeze=lora"),
        ("model=bert_linear", "freeze=peft", "freeze.method=dora"),
        ("data=reviews_aspects", "freeze=bottom", "freeze.layers=1"),
        (f"data.text={PAIRS}", "freeze=bottom", "freeze.layers=1"),
    ],
    ids=["linear", "bilstm", "lora", "dora", "multilabel", "pairs"],
)
def test_predictions_are_those_of_the_run_itself(
    run_tiny: Run, said: Callable[..., str], overrides: tuple[str, ...], tmp_path: Path, small_parts: None
) -> None:
    folder, result = run_tiny(*overrides)
    told = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet").to_pylist()
    multilabel = result["objective"] == "multilabel"
    label = folder.saved_config().data.label
    rows = [{"n": row["row"], "text": row["text"], "aspects": row.get("text_pair")} for row in told]
    for row, truth in zip(rows, told, strict=True):
        row[label] = "|".join(truth["true"]) if multilabel else truth["true"]
    file = write(tmp_path / "in.jsonl", rows)
    report = said(run=str(folder.path), input=str(file), output=str(tmp_path / "out.jsonl"), evaluate=True)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["n"] for row in found] == [row["row"] for row in told]
    assert [row["prediction"] for row in found] == [row["predicted"] for row in told]
    for row, truth in zip(found, told, strict=True):
        given = [row[f"probability_{name}"] for name in result["labels"]]
        assert given == pytest.approx(truth["probabilities"], abs=1e-5)
        assert row.get("confidence") == (None if multilabel else row[f"probability_{row['prediction']}"])
    written = (folder.path / "report" / "classification_report.txt").read_text()
    assert written.split("\n\n", 1)[1].partition("\nAlways ")[0].strip() in report
    scores = dict(parts for line in report.splitlines() if len(parts := line.split()) == 2)
    assert set(scores) == set(LabelSpace(result["objective"], ()).scores)
    for name, score in scores.items():
        expected = result["metrics"]["test"][name]
        assert float(score) == pytest.approx(np.nan if expected is None else expected, abs=6e-4, nan_ok=True), name


def test_the_predictor_gives_each_text_its_labels(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, result = run_tiny("model=bert_linear", "freeze=all")
    predictor = Predictor.load(folder.path)
    texts = ["Good camera.", "Bad.", "Good camera and a battery that lasts for days, which is rare.", ""]
    together = predictor.probabilities(texts)
    assert together.sum(1) == pytest.approx(1)
    for text, row in zip(texts, together, strict=True):  # neither order nor company matters
        assert predictor.probabilities([text])[0] == pytest.approx(row, abs=1e-6)
    for scored, row in zip(predictor(texts), together, strict=True):
        assert dict(scored) == pytest.approx(dict(zip(result["labels"], row, strict=True)))
        assert [p for _, p in scored] == sorted(row, reverse=True)
    assert predictor.decide(together) == [[scored[0][0]] for scored in predictor(texts)]
    with pytest.raises(UserError, match="a list of texts; got a single one"):  # not a label for each letter
        predictor(texts[0])
    monkeypatch.setattr(inference, "emulates_bf16", lambda device: False)
    quick = Predictor.load(folder.path, "bf16")
    assert quick.dtype == torch.bfloat16
    assert quick.probabilities(texts) == pytest.approx(together, abs=0.02)


def test_a_run_on_pairs_takes_pairs_only(
    run_tiny: Run, said: Callable[..., str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = run_tiny(f"data.text={PAIRS}", "model=bert_linear", "freeze=all", "trainer.max_epochs=1")
    predictor = Predictor.load(folder.path)
    ((first, *_), (swapped, *_)) = predictor([("Good food.", "service"), ("service", "Good food.")])
    assert first != swapped
    assert said(run=str(folder.path), text="Good food.", pair="service").startswith(f"{first[0]:20} {first[1]:.3f}")
    with pytest.raises(UserError, match=r"needs two; got 'Good food\.'"):
        predictor(["Good food."])
    with pytest.raises(UserError, match="needs two"):
        said(run=str(folder.path), text="Good food.")
    rows = [{"a": "Good food.", "b": "service"}, {"a": "Good food.", "b": " "}]
    file = write(tmp_path / "in.jsonl", rows)
    found = said(run=str(folder.path), input=str(file), text_column=["a", "b"])
    best, none = (json.loads(line) for line in found.splitlines())
    assert (best["prediction"], none["prediction"]) == (first[0], None)
    assert "1 row without a text got no label: line 2" in caplog.text
    with pytest.raises(UserError, match="as many columns"):
        said(run=str(folder.path), input=str(file), text_column="a")


def test_the_predictor_takes_any_column_of_texts_but_no_table(finished: RunFolder) -> None:
    predictor, texts = Predictor.load(finished.path), ["Good camera.", "Bad."]
    frame = pandas.DataFrame({"text": texts}, index=[7, 7])
    expected = predictor(texts)
    assert predictor(frame["text"]) == predictor(np.array(texts)) == predictor(iter(texts)) == expected
    for table, name in ((frame, "DataFrame"), ({"text": texts}, "dict")):
        with pytest.raises(UserError, match=f"must be a list of texts; got a {name}"):
            predictor(table)


@pytest.mark.parametrize("text", ["The movie was [MASK].", "[MASK]", "None of it was good"])
def test_a_classifier_answers_a_text_with_a_mask(finished: RunFolder, said: Callable[..., str], text: str) -> None:
    scored = Predictor.load(finished.path)([text])[0]
    assert said(run=str(finished.path), text=text) == "".join(f"{name:20} {share:.3f}\n" for name, share in scored)


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "jsonl", "parquet"])
def test_every_kind_of_file_keeps_its_columns_rows_and_blanks(
    finished: RunFolder,
    said: Callable[..., str],
    kind: str,
    tmp_path: Path,
    small_parts: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = [f"Text number {i}, é “ü”." for i in range(20)]
    texts[3] = texts[13] = " "
    rows = [{"id": f"r{i}", "text": text, "prediction": "mine"} for i, text in enumerate(texts)]
    source, target = write(tmp_path / f"in.{kind}", rows), tmp_path / f"out.{kind}"
    said(run=str(finished.path), input=str(source), output=str(target))
    table = read_table(target)
    probabilities = [f"probability_{name}" for name in finished.read_result()["labels"]]
    assert list(table.columns) == ["id", "text", "prediction", "prediction_2", "confidence", *probabilities]
    assert table.columns["id"] == [row["id"] for row in rows]
    assert [text.strip() for text in table.columns["text"]] == [text.strip() for text in texts]
    expected = Predictor.load(finished.path).probabilities(texts)
    for i in range(20):
        given = [table.columns[name][i] for name in probabilities]
        if i in (3, 13):
            assert not any(given)
            assert not table.columns["prediction_2"][i]
        else:
            assert [float(value) for value in given] == pytest.approx(list(expected[i]), abs=1e-6)
    first = 2 if kind in ("csv", "tsv", "xlsx") else 1
    assert f"2 rows without a text got no label: {'row' if kind in ('xlsx', 'parquet') else 'line'}" in caplog.text
    assert f" {first + 3}, {first + 13}" in caplog.text
    assert not list(tmp_path.glob(".out*"))


def test_empty_lines_stay_where_they_are(finished: RunFolder, said: Callable[..., str], tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("n,text\n1,good\n\n3,bad\n")
    said(run=str(finished.path), input=str(source), output=str(target))
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == ["1", "", "3"]
    assert [bool(row["prediction"]) for row in rows] == [True, False, True]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_formulas_are_harmless_and_come_back(kind: str, tmp_path: Path) -> None:
    file = write(tmp_path / f"out.{kind}", [{"text": text} for text in HOSTILE])
    cells = [str(value) for value in read_table(file).columns["text"]]
    for cell in cells:
        assert cell == "-3" or cell[0] not in "=+-@\t"
    undone = [cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell for cell in cells]
    assert undone == HOSTILE


def test_cells_of_a_workbook_are_texts_whatever_they_look_like(tmp_path: Path) -> None:
    file = write(tmp_path / "out.xlsx", [{"text": text} for text in [*HOSTILE, "a\x07b"]])
    column = list(openpyxl.load_workbook(file).worksheets[0].iter_rows(min_row=2))
    assert [row[0].value for row in column] == [*HOSTILE, "a\N{REPLACEMENT CHARACTER}b"]
    assert {row[0].data_type for row in column} <= {"s", "inlineStr"}


def test_a_workbook_takes_what_it_has_no_kind_of_cell_for(tmp_path: Path) -> None:
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    file = write(tmp_path / "out.xlsx", [{"at": noon, "raw": "é\n".encode() + b"\xff", "text": "a" * LONGEST}])
    row = next(openpyxl.load_workbook(file).worksheets[0].iter_rows(min_row=2, values_only=True))
    assert row == ("2024-05-01T12:00:00+00:00", "é\n\N{REPLACEMENT CHARACTER}", "a" * LONGEST)
    with pytest.raises(UserError, match=r"at most 32,767 characters; one has 32,768\.\n.*output=….csv"):
        write(tmp_path / "long.xlsx", [{"text": "a" * (LONGEST + 1)}])
    assert not list(tmp_path.glob("*long*"))


@pytest.mark.parametrize("kind", ["csv", "parquet", "tsv", "xlsx"])
def test_every_part_has_the_columns_of_the_first(kind: str, tmp_path: Path) -> None:
    with open_table(tmp_path / f"out.{kind}") as add:
        add({"a": ["1"], "b": ["2"]})
        add({"b": ["4"], "a": ["3"]})
    assert read_table(tmp_path / f"out.{kind}").columns == {"a": ["1", "3"], "b": ["2", "4"]}
    with open_table(tmp_path / f"other.{kind}") as add:
        add({"a": ["1"]})
        with pytest.raises(UserError, match=rf"to become a \.{kind} row; some lack c\."):
            add({"a": ["2"], "c": ["3"]})


def test_a_parquet_column_may_begin_without_a_value(tmp_path: Path) -> None:
    types: Types = {"number": "number", "texts": "texts"}
    with open_table(tmp_path / "out.parquet", types=types) as add:
        add({"mine": [None, None], "number": [None, None], "texts": [None, []]})
        add({"mine": ["a"], "number": [0.5], "texts": [["b"]]})
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[1:] == [{"mine": None, "number": None, "texts": []}, {"mine": "a", "number": 0.5, "texts": ["b"]}]


@pytest.mark.parametrize(
    ("objective", "top"), [("multiclass", None), ("multiclass", 2), ("multilabel", 9), ("regression", None)]
)
def test_what_is_predicted_is_announced_and_takes_no_name_that_is_given(objective: Any, top: int | None) -> None:
    space = LabelSpace(objective, ("a", "a_2", "b"))
    predictor: Any = SimpleNamespace(space=space, decide=lambda probs: [["a"]] * len(probs))
    added = label_file._added_columns(space, top)
    values = label_file.Labeller(predictor, settings(), False, top)._predicted(np.eye(2, 3, dtype=np.float32))
    kinds = {str: "text", list: "texts", float: "number"}
    assert [kinds[type(column[0])] for column in values] == [*added.values()]
    names = label_file._unique_names(added, ["text", "probability_a", "prediction"])
    assert len({*names, "text", "probability_a", "prediction"}) == len(names) + 3


def test_standard_input_and_output(
    finished: RunFolder, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b'{"text": "Good."}\n\n{"text": "Bad.", "more": [1]}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    found = [json.loads(line) for line in said(run=str(finished.path), input="-").splitlines()]
    assert [row["text"] for row in found] == ["Good.", None, "Bad."]
    assert [bool(row["prediction"]) for row in found] == [True, False, True]


def test_json_has_null_for_what_it_has_no_word_for_and_files_may_hold_no_text(
    finished: RunFolder, said: Callable[..., str], tmp_path: Path
) -> None:
    source = write(tmp_path / "in.parquet", [{"text": " ", "score": float("nan")}, {"text": " ", "score": 1.0}])
    found = [json.loads(line) for line in said(run=str(finished.path), input=str(source)).splitlines()]
    assert [row["score"] for row in found] == [None, 1.0]
    assert [row["prediction"] for row in found] == [None, None]


def test_latest_and_best_name_runs(run_tiny: Run, tmp_path: Path) -> None:
    scores = {}
    for name, seed in (("0", 1), ("1", 2), ("2", 3)):
        folder, result = run_tiny("model=bert_linear", "freeze=all", f"seed={seed}", name=f"sweep/{name}")
        scores[name] = result["metrics"]["validation"]["loss"]
        os.utime(folder.path / "result.json", (int(name), int(name)))
    unfinished = tmp_path / "sweep" / "3"
    shutil.copytree(tmp_path / "sweep" / "2", unfinished)
    RunFolder(unfinished).write_status("failed")
    sweep = str(tmp_path / "sweep")
    assert find_run("latest", sweep).name == "2"
    watched = find_run("best", sweep)
    assert scores[watched.name] == min(scores.values())
    with pytest.raises(UserError, match=r"needs a sweep to choose from"):
        find_run("best")
    with pytest.raises(UserError, match=r"needs a finished run; .*empty has none"):
        find_run("latest", str(tmp_path / "empty"))


@pytest.fixture(scope="module")
def bad_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.csv").write_bytes(b"")
    (folder / "header.csv").write_bytes(b"text,label\n")
    (folder / "other.csv").write_bytes(b"review,label\ngood,1\n")
    (folder / "labels.csv").write_bytes(b"text,sentiment\ngood,never seen\n")
    (folder / "ragged.csv").write_bytes(b"text,label\n" + b"good,positive\n" * 20 + b"bad\n")
    (folder / "good.csv").write_bytes(b"text,label\ngood,positive\n")
    (folder / "blank.csv").write_bytes(b'text,sentiment\n" ",positive\n" ",positive\n')
    (folder / "half.jsonl").write_bytes(b'{"text": "a \\ud83d b"}\n')
    (folder / "lists.jsonl").write_bytes(b'{"text": ["a"]}\n' * 2)
    (folder / "null.csv").symlink_to("/dev/null")
    (folder / "twice.csv").write_bytes(b"text,sentiment,sentiment\ngood,positive,negative\n")
    (folder / "mixed.jsonl").write_bytes(b'{"text": "a"}\n' * 7 + b'{"text": "a", "more": 1}\n')
    return folder


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "either text=… or input=FILE"),
    "blank": ({"text": " "}, "text must hold words; it is blank"),
    "pair alone": ({"input": "good.csv", "pair": "b"}, "give the first too"),
    "blank pair": ({"text": "a", "pair": " "}, "pair must hold words; it is blank"),
    "pair for single texts": ({"text": "a", "pair": "b"}, r"needs one; got \('a', 'b'\)"),
    "two columns for single texts": ({"input": "good.csv", "text_column": ["a", "b"]}, r"\(text\); got a,b"),
    "guesses": ({"text": "a", "top": 0}, "top has an invalid value: 0"),
    "wrong types": (
        {"input": "good.csv", "evaluate": "so", "text_column": ["a"]},
        r"text_column must (.*\n)*evaluate has",
    ),
    "one column in a list": ({"input": "good.csv", "label_column": ["a"]}, "should have at least 2 items"),
    "both": ({"text": "a", "input": "good.csv"}, "either text=… or input=FILE"),
    "output of a text": ({"text": "a", "output": "x.csv"}, "require input=FILE"),
    "precision": ({"text": "a", "precision": "fp8"}, "It should be 'float32' or 'bf16'"),
    "missing": ({"input": "missing.csv"}, "cannot be read: No such file"),
    "kind": ({"input": "data.bin"}, "must be one of"),
    "empty": ({"input": "empty.csv"}, "it is empty"),
    "header": ({"input": "header.csv"}, "must hold rows"),
    "column": ({"input": "other.csv"}, r"text_column must name a column of .*; got 'text'.\nThere are: .*text_column="),
    "own column": ({"input": "good.csv", "text_column": "txt"}, "Did you mean 'text'"),
    "label": ({"input": "labels.csv", "evaluate": True}, "has 'never seen'"),
    "label twice": ({"input": "twice.csv", "evaluate": True}, "'sentiment' occurs 2 times"),
    "ragged": ({"input": "ragged.csv"}, "line 22 has 1"),
    "same file": ({"input": "good.csv", "output": "good.csv"}, "must be another file than input"),
    "output kind": ({"input": "good.csv", "output": "out.doc"}, "output must be - or end with one of"),
    "output folder": ({"input": "good.csv", "output": "none/out.csv"}, "cannot be written: No such file"),
    "no text at all": (
        {"input": "blank.csv", "output": "out.csv", "evaluate": True},
        "An evaluation needs a row with a text",
    ),
    "device": ({"input": "null.csv"}, "it is empty"),
    "list of texts": ({"input": "lists.jsonl"}, "a list, an object or bytes for a text .*: line 1"),
    "half a character": ({"input": "half.jsonl"}, "line 1 is not: it escapes half of a character"),
    "other keys": ({"input": "mixed.jsonl", "output": "out.csv"}, "some lack more"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_and_nothing_is_left(
    finished: RunFolder,
    said: Callable[..., str],
    bad_inputs: Path,
    what: str,
    small_parts: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values, message = BAD[what]
    values = {k: str(bad_inputs / v) if k in ("input", "output") else v for k, v in values.items()}
    before = {file: file.read_bytes() for file in bad_inputs.iterdir()}
    with pytest.raises(UserError, match=message):
        said(run=str(finished.path), **values)
    assert capsys.readouterr().err == ""  # such as what is left of the bar
    assert {file: file.read_bytes() for file in bad_inputs.iterdir()} == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": "good.csv", "text_column": "txt"}, "text_column must name a column"),
        ({"input": "good.csv", "evaluate": True}, "label_column must name a column .*; got 'sentiment'"),
        ({"input": "labels.csv", "evaluate": True}, "has 'never seen'"),
        ({"input": "good.csv", "output": "none/out.csv"}, "cannot be written: No such file"),
        ({"input": "good.csv", "output": "none/out.xlsx"}, "cannot be written: No such file"),
        ({"input": "good.csv", "output": "none/out.jsonl"}, "cannot be written: No such file"),
        ({"input": "good.csv", "output": "none/out.parquet"}, "cannot be written: No such file"),
    ],
)
def test_what_needs_no_model_is_refused_before_one_is_loaded(
    finished: RunFolder,
    said: Callable[..., str],
    bad_inputs: Path,
    values: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("the model was loaded"))
    values = {k: str(bad_inputs / v) if k in ("input", "output") else v for k, v in values.items()}
    with pytest.raises(UserError, match=message):
        said(run=str(finished.path), **values)


def test_a_masked_language_model_labels_no_file(run: RunFolder, said: Callable[..., str], bad_inputs: Path) -> None:
    run.write_json("result.json", run.read_result() | {"objective": "mlm", "labels": []})
    with pytest.raises(UserError, match=r"input=… requires a classifier; .* is a masked language model\."):
        said(run=str(run.path), input=str(bad_inputs / "good.csv"))


def test_a_text_of_a_megabyte_is_cut_like_any_other(finished: RunFolder) -> None:
    predictor = Predictor.load(finished.path)
    long = "good film " * 100_000
    assert predictor.probabilities([long]) == pytest.approx(predictor.probabilities([long[:2_000]]))


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_mistake(finished: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a film of words"}\n' * 20_000)
    command = [sys.executable, "-m", "src.predict", f"run={finished.path}", f"input={tmp_path / 'rows.jsonl'}"]
    with subprocess.Popen(
        command, cwd=CONF.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "prediction" in process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert "Broken pipe" not in said


def test_the_most_probable_labels_replace_one_column_for_each(
    finished: RunFolder, said: Callable[..., str], tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", [{"text": "The food was cold."}]), tmp_path / "out.jsonl"
    said(run=str(finished.path), input=str(source), output=str(target), top=2)
    (row,) = [json.loads(line) for line in target.read_text().splitlines()]
    (first, second, *_) = Predictor.load(finished.path)(["The food was cold."])[0]
    assert list(row) == ["text", "prediction", "confidence", "label_1", "probability_1", "label_2", "probability_2"]
    assert (row["prediction"], row["label_1"], row["label_2"]) == (first[0], first[0], second[0])
    assert (row["confidence"], row["probability_2"]) == pytest.approx((first[1], second[1]))
    shown = said(run=str(finished.path), text="The food was cold.", top=2).splitlines()
    assert [line.split()[0] for line in shown[:2]] == [first[0], second[0]]
    assert shown[2] == f"and {len(finished.read_result()['labels']) - 2} more labels"
