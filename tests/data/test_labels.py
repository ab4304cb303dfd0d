"""Labels stay as they are written, and are the same label in every split and in files that come later."""

from __future__ import annotations

import datetime
import json
import logging
import tracemalloc
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hydra import compose, initialize_config_dir

from src import predict
from src.config.data import Data
from src.config.folder import CONF
from src.data import corpus
from src.data.cuts import make_missing
from src.data.labels import LabelSpace
from src.data.split import Split
from src.errors import UserError
from src.runs.folder import RunFolder
from src.tables.tables import Table
from tests.conftest import composed
from tests.tables.files import csv, jsonl, put, xlsx

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
VECTORS = [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]]


def settings(path: Path, **changes: Any) -> Data:
    values: Any = composed("data=table", f"data.path={path}").data
    return Data.model_validate({**values, **changes})


def rows(labels: Sequence[Any], count: int = 60) -> list[tuple[str, Any]]:
    return [(f"text {i}", labels[i % len(labels)]) for i in range(count)]


def parquet(pairs: Sequence[tuple[str, Any]], kind: Any = None) -> bytes:
    content = pyarrow.BufferOutputStream()
    columns = {"text": [text for text, _ in pairs], "label": pyarrow.array([label for _, label in pairs], kind)}
    pyarrow.parquet.write_table(pyarrow.table(columns), content)
    return bytes(content.getvalue().to_pybytes())


def saved(pairs: Sequence[tuple[str, Any]]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        found = datasets.Dataset.from_dict(
            {"text": [text for text, _ in pairs], "label": [label for _, label in pairs]}
        )
        datasets.DatasetDict({"train": found}).save_to_disk(path)

    return make


def joined(mark: str) -> list[str]:
    return [mark.join(map(str, row)) for row in VECTORS]


def by_text(found: corpus.Corpus) -> dict[str, Any]:
    return {
        text: target.tolist() for s in found.splits.values() for text, target in zip(s.texts, s.targets, strict=True)
    }


HOLDERS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "jsonl": ("a.jsonl", lambda: jsonl(rows(VECTORS)), {}),
    "floats": ("a.jsonl", lambda: jsonl(rows([[float(v) for v in row] for row in VECTORS])), {}),
    "truth values": ("a.jsonl", lambda: jsonl(rows([[bool(v) for v in row] for row in VECTORS])), {}),
    "texts": ("a.jsonl", lambda: jsonl(rows([[str(v) for v in row] for row in VECTORS])), {}),
    "parquet": ("a.parquet", lambda: parquet(rows(VECTORS)), {}),
    "fixed length": ("a.parquet", lambda: parquet(rows(VECTORS), pyarrow.list_(pyarrow.int8(), 3)), {}),
    "saved data set": ("d", saved(rows(VECTORS)), {}),
    "divided": ("a.csv", lambda: csv(rows(joined("|"))), {"label_delimiter": "|"}),
    "divided by blanks": ("a.xlsx", lambda: xlsx(rows(joined(" "))), {"label_delimiter": " "}),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_positions_of_vectors_are_the_labels(holder: str, tmp_path: Path) -> None:
    name, content, changes = HOLDERS[holder]
    path = put(tmp_path / name, content)
    found = corpus.load(settings(path, **changes))
    assert found.space == LabelSpace("multilabel", ("0", "1", "2"), vectors=True)
    assert by_text(found) == dict(rows(VECTORS))
    named = corpus.load(settings(path, label_names=["bad", "dear", "slow"], **changes))
    assert named.space.names == ("bad", "dear", "slow")
    assert by_text(named) == dict(rows(VECTORS))


@pytest.mark.parametrize(
    ("lists", "objective", "names"),
    [
        ([[1, 0], [0, 1]], "multilabel", ("0", "1")),  # as lists of labels, both would be {0, 1}
        ([[0], [1], [0, 1]], "multilabel", ("0", "1")),  # labels that happen to be 0 and 1
        ([[0, 1], [1], []], "multilabel", ("0", "1")),
        ([[0, 2], [2, 1], [1, 0]], "multilabel", ("0", "1", "2")),
        ([["a", "a"], ["b", "a"]], "multilabel", ("a", "b")),
    ],
)
def test_vectors_are_told_from_lists_of_labels(
    lists: list[list[Any]], objective: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    found = corpus.load(settings(put(tmp_path / "a.jsonl", jsonl(rows(lists)))))
    assert (found.space.objective, found.space.names) == (objective, names)
    vectors = lists == [[1, 0], [0, 1]]
    assert found.space.vectors == vectors
    expected = lists if vectors else [[float(n in map(str, row)) for n in names] for row in lists]
    assert by_text(found) == dict(rows(expected))


def test_vectors_with_one_1_are_classes_where_the_task_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path / "a.jsonl", jsonl(rows([[0, 0, 1], [1, 0, 0], [0, 1, 0]])))
    with caplog.at_level(logging.INFO):
        assert corpus.load(settings(path)).space.objective == "multilabel"
    assert "Each has exactly one 1; if no text can have several labels, choose data.task=multiclass." in caplog.text
    found = corpus.load(settings(path, task="multiclass", label_names=["a", "b", "c"]))
    assert (found.space.objective, found.space.names) == ("multiclass", ("a", "b", "c"))
    assert by_text(found) == dict(rows([2, 0, 1]))
    pair = put(tmp_path / "b.jsonl", jsonl(rows([[0, 1], [1, 0]])))
    found = corpus.load(settings(pair, task="binary", label_names=["no", "yes"]))
    assert (found.space.objective, by_text(found)) == ("binary", dict(rows([1, 0])))


@pytest.mark.parametrize("labels", [["0", "1", "2"], ["0.0", "2.0", "1.0"], [1, 2.0, "0"], ["low", "mid", "high"]])
def test_names_may_be_given_for_numbers_and_for_an_order(labels: list[Any], tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", jsonl(rows(labels)))
    found = corpus.load(settings(path, label_names=["low", "mid", "high"]))
    places = {"low": 0, "mid": 1, "high": 2}
    assert found.space.names == ("low", "mid", "high")
    assert by_text(found) == dict(rows([places[n] if n in places else int(float(n)) for n in labels]))


def test_blanks_in_names_count_as_in_the_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", csv(rows(["very bad", " very  bad", "good"])))
    found = corpus.load(settings(path, label_names=["very \n bad", "good"]))
    assert (found.space.names, by_text(found)) == (("very bad", "good"), dict(rows([0, 0, 1])))


def test_numbers_count_positions_even_where_names_are_numbers(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", csv(rows(["0", "1", "2"])))
    assert by_text(corpus.load(settings(path, label_names=[1, 2, 3]))) == dict(rows([0, 1, 2]))
    lists = put(tmp_path / "a.jsonl", jsonl(rows([[0, 2], [1], []])))
    found = corpus.load(settings(lists, label_names=["1", "2", "3"]))
    assert by_text(found) == dict(rows([[1, 0, 1], [0, 1, 0], [0, 0, 0]]))


CODES = {
    "codes": ["0101", "101", "0202"],
    "two digits": ["01", "02", "10"],
    "numbers": [
        *("1", "1.0", "1.00", "+1", "01", "1E2", "100", "1e5", "-0", "0", "Infinity", "inf"),
        *("9007199254740993", "9007199254740992"),
    ],
    "others": ["1_000", "1000", "2024-01-01", "2024-01-01 00:00:00", "0x10", "TRUE", "True", "\u0661", "1"],
    "brackets": ["(0.0; 1.5]", "[18 25]", "[NEG]", "[1]", "(very bad)", "(2 3)"],
}


@pytest.mark.parametrize("case", CODES)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.xlsx", "a.parquet"])
def test_labels_stay_as_they_are_written(name: str, case: str, tmp_path: Path) -> None:
    pairs = rows(CODES[case], 10 * len(CODES[case]))
    contents = {
        "a.csv": csv,
        "a.tsv": lambda pairs: csv(pairs).replace(b",", b"\t"),
        "a.jsonl": jsonl,
        "a.xlsx": xlsx,
        "a.parquet": parquet,
    }
    found = corpus.load(settings(put(tmp_path / name, contents[name](pairs))))
    assert set(found.space.names) == set(CODES[case])
    assert {text: found.space.names[label] for text, label in by_text(found).items()} == dict(pairs)


MIDNIGHT = datetime.datetime(2024, 1, 1)
# What train has and how it is called; then what stands for the first of these labels in test files of other kinds.
SAME: dict[str, tuple[Any, Sequence[Any], Sequence[str], dict[str, tuple[Any, Sequence[Any]]]]] = {
    "whole numbers as texts": (
        csv,
        ["1", "2", "10"],
        ["1", "2", "10"],
        {
            "jsonl": (jsonl, [1, 2.0, 10]),
            "parquet": (parquet, [1.0, 2.0, 10.0]),
            "xlsx": (xlsx, [1, 2, 10]),
            "csv": (csv, ["1", "2", "10"]),
        },
    ),
    "fractions as texts": (
        csv,
        ["1.0", "2.0", "other"],
        ["1.0", "2.0", "other"],
        {
            "csv": (csv, ["1.0", "2.0"]),
            "jsonl": (jsonl, [1, 2.0]),
            "parquet": (parquet, [1, 2]),
        },
    ),
    "numbers": (
        parquet,
        [1.0, 2.0, 2.5],
        ["1", "2", "2.5"],
        {
            "csv": (csv, ["1.0", "2", "2.5"]),
            "jsonl": (jsonl, [1, "2.0", 2.5]),
            "xlsx": (xlsx, [1, 2, 2.5]),
        },
    ),
    "exact numbers": (
        parquet,
        [Decimal("1.00"), Decimal("2.50")],
        ["1", "2.5"],
        {"csv": (csv, ["1.00", "2.50"]), "jsonl": (jsonl, [1, 2.5])},
    ),
    "truth values": (
        jsonl,
        [False, True],
        ["False", "True"],
        {
            "csv": (csv, ["false", "true"]),
            "Excel's csv": (csv, ["FALSE", "TRUE"]),
            "parquet": (parquet, [False, True]),
            "xlsx": (xlsx, [False, True]),
        },
    ),
    "truth values as texts": (
        csv,
        ["false", "true"],
        ["false", "true"],
        {"jsonl": (jsonl, [False, True]), "parquet": (parquet, [False, True]), "xlsx": (xlsx, [False, True])},
    ),
    "dates": (
        xlsx,
        [MIDNIGHT, datetime.datetime(2024, 1, 2)],
        ["2024-01-01", "2024-01-02"],
        {
            "csv": (csv, ["2024-01-01", "2024-01-02 00:00:00"]),
            "parquet": (parquet, [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]),
        },
    ),
}
ENDINGS = {csv: "csv", jsonl: "jsonl", parquet: "parquet", xlsx: "xlsx"}


@pytest.mark.parametrize("case", [(name, other) for name, (*_, others) in SAME.items() for other in others], ids=str)
def test_a_label_is_the_same_in_files_of_other_kinds(case: tuple[str, str], tmp_path: Path) -> None:
    write, values, names, others = SAME[case[0]]
    kind, again = others[case[1]]
    put(tmp_path / f"train.{ENDINGS[write]}", write(rows(values)))
    put(tmp_path / f"test.{ENDINGS[kind]}", kind([(f"later {text}", label) for text, label in rows(again, 6)]))
    found = corpus.load(settings(tmp_path))
    assert set(found.space.names) == set(names)
    wanted = [names[i % len(again)] for i in range(6)]
    assert [found.space.names[label] for label in found.splits["test"].targets] == wanted


@pytest.mark.parametrize(
    ("trained", "other"),
    [
        (["101", "0202"], "0101"),
        (["01", "02"], 1),
        (["1", "2"], True),
        (["true", "false"], 1),
        ([1, 2], "01"),
        ([1, 2], "+1"),
    ],
)
def test_a_label_that_may_be_another_is_refused(trained: list[Any], other: Any, tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", jsonl(rows(trained)))
    put(tmp_path / "test.jsonl", jsonl([("later", trained[0]), ("later too", other)]))
    shown = repr(other) if isinstance(other, str) else str(other)
    with pytest.raises(
        UserError, match=rf"must occur in the training rows; \S+test\.jsonl line 2 has {shown}\.".replace("+1", r"\+1")
    ):
        corpus.load(settings(tmp_path))


def test_labels_that_look_the_same_are_counted_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = ["Bad", "bad", "caf\u00e9", "cafe\u0301", "bar", "bar\u200b", "New York", "NewYork", "1", "1.0", "other"]
    found = corpus.load(settings(put(tmp_path / "a.csv", csv(rows(labels, 110)))))
    assert set(found.space.names) == set(labels)
    for shown in (
        "'Bad' (10), 'bad' (10);",
        r"'cafe\u0301' (10), 'caf\xe9' (10);",
        r"'bar' (10), 'bar\u200b' (10);",
        "'New York' (10), 'NewYork' (10);",
        "'1' (10), '1.0' (10).",
    ):
        assert shown in caplog.text
    assert "other" not in caplog.text
    caplog.clear()
    put(tmp_path / "b.jsonl", jsonl(rows(["good", "good ", "bad"])))
    assert corpus.load(settings(tmp_path / "b.jsonl")).space.names == ("bad", "good")
    assert (
        "b.jsonl has labels that differ only in whitespace; they are one label: 'good' (20), 'good ' (20)."
        in caplog.text
    )
    caplog.clear()
    corpus.load(settings(put(tmp_path / "c.csv", csv(rows(["0101", "101", " no", "A", "B"])))))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_few_numbers_with_fractions_are_classes_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = corpus.load(settings(put(tmp_path / "a.csv", csv(rows(["1.0", "1.5", "2.0"])))))
    assert found.space.names == ("1.0", "1.5", "2.0")
    assert "a.csv has 3 different numbers with fractions in column 'label'; each is a separate class" in caplog.text
    caplog.clear()
    corpus.load(settings(put(tmp_path / "b.csv", csv(rows(["1", "2", "3", "4", "5"])))))
    corpus.load(settings(put(tmp_path / "c.csv", csv(rows(["1.0", "2.0", "3.0"])))))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    many = put(tmp_path / "d.csv", csv(rows([f"{i}.{i}" for i in range(21)], 210)))
    assert len(corpus.load(settings(many, task="multiclass")).space.names) == 21


@pytest.fixture
def evaluated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., tuple[str, list[dict[str, Any]]]]:
    """Labels a file by a run and evaluates; what was said, and the rows that were written."""

    def run(folder: RunFolder, file: Path, **values: Any) -> tuple[str, list[dict[str, Any]]]:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("predict")
        output = tmp_path / "out.jsonl"
        for key, value in {"run": str(folder.path), "input": str(file), "output": str(output), **values}.items():
            cfg[key] = value
        cfg.evaluate = True
        capsys.readouterr()
        predict.predict(cfg)
        return capsys.readouterr().out, [json.loads(line) for line in output.read_text().splitlines()]

    return run


def accuracy(report: str) -> float:
    return float(
        next(line for line in report.splitlines() if line.startswith("accuracy  ") and len(line.split()) == 2).split()[
            1
        ]
    )


def linear(path: Path, *more: str) -> tuple[str, ...]:
    return ("data=table", f"data.path={path}", "model=bert_linear", "freeze=all", "trainer.max_epochs=1", *more)


def test_vectors_are_evaluated_as_they_were_learned(
    run_tiny: Run, evaluated: Callable[..., tuple[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    path = put(tmp_path / "a.jsonl", jsonl(rows(VECTORS, 90)))
    folder, result = run_tiny(*linear(path, "data.label_names=[bad,dear,slow]"))
    assert (result["labels"], result["label_vectors"]) == (["bad", "dear", "slow"], True)
    told = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet").to_pylist()
    truth = dict(rows(VECTORS, 90))
    for row in told:
        assert row["true"] == [n for n, on in zip(result["labels"], truth[row["text"]], strict=True) if on]
    for name, content in (("b.jsonl", jsonl(rows(VECTORS, 7))), ("b.parquet", parquet(rows(VECTORS, 7)))):
        report, found = evaluated(folder, put(tmp_path / name, content))
        hits = [
            (label in row["prediction"]) == bool(truth[row["text"]][i])
            for row in found
            for i, label in enumerate(result["labels"])
        ]
        assert accuracy(report) == pytest.approx(np.mean(hits), abs=6e-4)
    flags = jsonl(rows(["unused"], 2)).replace(b'"label": "unused"', b'"bad": 1, "dear": 0, "slow": 1')
    report, _ = evaluated(folder, put(tmp_path / "c.jsonl", flags), label_column=["bad", "dear", "slow"])
    assert "         bad" in report
    with pytest.raises(UserError, match=r"d\.jsonl has 1 row with a vector with values other than 0 and 1.*: line 1"):
        evaluated(folder, put(tmp_path / "d.jsonl", jsonl([("a", ["bad", "dear", "slow"])])))


def test_labels_are_evaluated_by_what_they_are_in_the_file(
    run_tiny: Run, evaluated: Callable[..., tuple[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    folder, result = run_tiny(*linear(put(tmp_path / "a.parquet", parquet(rows([1.0, 2.0])))))
    assert (result["labels"], result["typed_labels"]) == (["1", "2"], ["1", "2"])
    reports = [
        evaluated(folder, put(tmp_path / name, content))[0]
        for name, content in (
            ("b.csv", csv(rows(["1.0", "2.0"], 9))),
            ("c.csv", csv(rows(["1", "2"], 9))),
            ("d.jsonl", jsonl(rows([1, 2.0], 9))),
            ("e.xlsx", xlsx(rows([1, 2], 9))),
        )
    ]
    assert len(set(reports)) == 1
    with pytest.raises(UserError, match=r"f\.csv line 2 has '01'"):
        evaluated(folder, put(tmp_path / "f.csv", csv(rows(["01", "2"], 9))))
    codes, result = run_tiny(*linear(put(tmp_path / "g.csv", csv(rows(["0101", "101"])))), name="codes")
    assert (result["labels"], result["typed_labels"]) == (["0101", "101"], [])
    _, found = evaluated(codes, put(tmp_path / "h.csv", csv(rows(["0101", "101"], 6))))
    assert {row["prediction"] for row in found} <= {"0101", "101"}
    with pytest.raises(UserError, match=r"i\.csv line 2 has '101\.0'"):
        evaluated(codes, put(tmp_path / "i.csv", csv(rows(["101.0"], 6))))


def test_a_run_that_took_all_labels_for_numbers_is_evaluated_as_then(
    run_tiny: Run, evaluated: Callable[..., tuple[str, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    folder, result = run_tiny(*linear(put(tmp_path / "a.csv", csv(rows(["1", "101"])))))
    old = {key: value for key, value in result.items() if key not in ("typed_labels", "label_vectors")}
    folder.write_json("result.json", old)
    config = folder.path / "config.yaml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "label_names" not in line))
    wanted, _ = evaluated(folder, put(tmp_path / "b.csv", csv(rows(["1", "101"], 9))))
    found, _ = evaluated(folder, put(tmp_path / "c.csv", csv(rows(["1.0", "0101"], 9))))
    assert found == wanted
    with pytest.raises(UserError, match=r"d\.csv line 2 has '2\.0'"):
        evaluated(folder, put(tmp_path / "d.csv", csv(rows(["2.0"], 9))))


@pytest.mark.parametrize("several", [False, True])
def test_rare_labels_among_many_are_found_in_little_memory(several: bool, tmp_path: Path) -> None:
    count, labels = 4_000, 2_000
    targets = np.arange(count) % (labels - 1)  # the last label has no row
    if several:
        targets = np.eye(labels, dtype=np.float32)[targets]
    split = Split(np.arange(count), ["a"] * count, targets, np.arange(count))
    space = LabelSpace("multilabel" if several else "multiclass", tuple(map(str, range(labels))))
    source = Table("a.csv", {}, [*range(count)])
    tracemalloc.start()
    with pytest.raises(UserError, match=r"at least 3 rows.*: '2' \(2: line 2, 2001\), '3' .*, '9' .*, …\."):
        make_missing({"train": split}, space, settings(tmp_path), source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count * labels // 4  # bytes
