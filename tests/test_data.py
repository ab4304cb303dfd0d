"""Tables, labels and splits: what is read, what is inferred, what is refused."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from openpyxl import Workbook

from src.checking import check
from src.config import Data, UserError
from src.data import corpus, labels, reading, sources, tables
from src.runs import CONF
from tests.conftest import REVIEWS, SHARED, composed

EXAMPLES = REVIEWS.parent / "examples"
ROWS = [(f"text number {i}", ("no", "maybe", "yes")[i % 3]) for i in range(30)]


def settings(path: Path | None = None, **changes: Any) -> Data:
    values: Any = composed("data=table", f"data.path={path or 'unset'}").data
    return Data.model_validate({**values, **changes})


def write_csv(path: Path, rows: list[tuple[Any, ...]] = ROWS, header: tuple[str, ...] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_any(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    records = [{"text": text, "label": label} for text, label in rows]
    if path.suffix == ".csv":
        write_csv(path, rows)
    elif path.suffix == ".tsv":
        path.write_text("text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in rows))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(r) for r in records))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    else:
        book = Workbook()
        for row in [("text", "label"), *rows]:
            book.active.append(row)
        book.save(path)
    return path


@pytest.mark.parametrize("suffix", [kind for kind in reading.READERS if kind != ".txt"])  # which has no labels
def test_every_kind_of_file_gives_the_same_corpus(suffix: str, tmp_path: Path) -> None:
    found = corpus.load(settings(write_any(tmp_path / f"data{suffix}", ROWS)))
    same = corpus.load(settings(write_any(tmp_path / "same.csv", ROWS)))
    assert found.space == labels.LabelSpace("multiclass", ("maybe", "no", "yes"))
    for name, split in found.splits.items():
        assert split.texts == same.splits[name].texts
        assert split.targets.tolist() == same.splits[name].targets.tolist()


def test_missing_splits_are_cut_stratified_and_by_seed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", ROWS * 2)
    splits = corpus.load(settings(path)).splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 42, "validation": 12, "test": 6}
    assert all(set(Counter(s.targets.tolist()).values()) == {len(s) // 3} for s in splits.values())
    rows = np.concatenate([s.rows for s in splits.values()])
    assert sorted(rows.tolist()) == list(range(2, 62))
    again, other = corpus.load(settings(path)).splits, corpus.load(settings(path, seed=7)).splits
    assert again["test"].rows.tolist() == splits["test"].rows.tolist()
    assert other["test"].rows.tolist() != splits["test"].rows.tolist()


def test_given_splits_are_never_mixed(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [(f"train {t}", label) for t, label in ROWS])
    write_csv(tmp_path / "dev.csv", [(f"dev {t}", label) for t, label in ROWS])
    splits = corpus.load(settings(tmp_path)).splits
    assert {name: {t.split()[0] for t in s.texts} for name, s in splits.items()} == {
        "train": {"train"},
        "validation": {"dev"},
        "test": {"train"},
    }
    assert len(splits["validation"]) == 30
    assert len(splits["test"]) == 3


def test_limit_takes_a_stratified_part_of_each_split(tmp_path: Path) -> None:
    splits = corpus.load(settings(write_csv(tmp_path / "data.csv", ROWS * 5), limit=15)).splits
    assert {name: Counter(s.targets.tolist()) for name, s in splits.items()} == {
        name: Counter({0: 5, 1: 5, 2: 5}) for name in splits
    }


@pytest.mark.parametrize(
    ("values", "task", "objective", "names"),
    [
        (["a", "b"], "auto", "binary", ("a", "b")),
        (["a", "b"], "multiclass", "multiclass", ("a", "b")),
        ([2, 10, 1], "auto", "multiclass", ("1", "2", "10")),
        ([1, 0.0], "auto", "binary", ("0", "1")),
        ([["x"], ["x", "y"], []], "auto", "multilabel", ("x", "y")),
        (["a", "b"], "multilabel", "multilabel", ("a", "b")),
    ],
)
def test_the_task_is_inferred_from_the_labels(
    values: list[Any], task: str, objective: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    rows = [{"text": f"t{i}", "label": values[i % len(values)]} for i in range(60)]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = corpus.load(settings(path, task=task))
    assert found.space == labels.LabelSpace(objective, names)


def test_numbers_written_differently_are_one_label(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"t{i}", "label": (1, 1.0, "1", 0)[i % 4]}) for i in range(40)))
    assert corpus.load(settings(path)).space.names == ("0", "1")


def test_multilabel_as_delimited_string_list_and_columns_agree(tmp_path: Path) -> None:
    sets = [("price",), ("price", "story"), ("story",), ()] * 10
    write_csv(tmp_path / "delimited.csv", [(f"t{i}", "|".join(s)) for i, s in enumerate(sets)])
    write_csv(
        tmp_path / "columns.csv",
        [(f"t{i}", int("price" in s), float("story" in s)) for i, s in enumerate(sets)],
        ("text", "price", "story"),
    )
    (tmp_path / "list.jsonl").write_text(
        "\n".join(json.dumps({"text": f"t{i}", "label": list(s)}) for i, s in enumerate(sets))
    )
    found = [
        corpus.load(settings(tmp_path / "delimited.csv", label_delimiter="|")),
        corpus.load(settings(tmp_path / "columns.csv", label=["price", "story"])),
        corpus.load(settings(tmp_path / "list.jsonl")),
    ]
    for each in found:
        assert each.space == labels.LabelSpace("multilabel", ("price", "story"))
        assert each.splits["train"].targets.tolist() == found[0].splits["train"].targets.tolist()


def test_a_saved_dataset_keeps_its_class_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = {"text": [f"t{i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
    parts = {name: datasets.Dataset.from_dict(rows, features=features) for name in ("train", "validation", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    found = corpus.load(settings(tmp_path / "saved"))
    assert found.space == labels.LabelSpace("binary", ("bad", "good"))
    assert len(found.splits["test"]) == 20


def test_balanced_weights(tmp_path: Path) -> None:
    rows = [(f"t{i}", "rare" if i % 4 == 0 else "common") for i in range(40)]
    weights = corpus.load(settings(write_csv(tmp_path / "data.csv", rows))).label_weights()
    np.testing.assert_allclose(weights, [40 / 2 / 30, 40 / 2 / 10], rtol=0.02)


def test_texts_that_look_like_nothing_are_kept(tmp_path: Path) -> None:
    rows = [(text, str(i % 2)) for i, text in enumerate(["NA", "null", "nan", "None", "0", "#N/A"] * 5)]
    splits = corpus.load(settings(write_csv(tmp_path / "data.csv", rows))).splits
    assert {t for s in splits.values() for t in s.texts} == {"NA", "null", "nan", "None", "0", "#N/A"}


def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "plain.csv").read_text()
    (tmp_path / "marked.csv").write_bytes(b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode())
    first, second = (corpus.load(settings(tmp_path / n)).splits["train"] for n in ("plain.csv", "marked.csv"))
    assert (first.texts, first.rows.tolist()) == (second.texts, second.rows.tolist())


def test_rows_keep_the_line_numbers_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('text,label\n"two\nlines",a\n\nthird,b\n')
    assert tables.read_table(tmp_path / "data.csv").rows == [2, 5]


def test_duplicates_across_splits_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train", "validation", "test"):
        write_csv(tmp_path / f"{name}.csv", [*ROWS[:3], *[(f"{name} {t}", label) for t, label in ROWS]])
    corpus.load(settings(tmp_path))
    assert [r.message[:40] for r in caplog.records if "texts are in" in r.message] == [
        "3 texts are in train and in validation: ",
        "3 texts are in train and in test: scores",
        "3 texts are in validation and in test: s",
    ]


CONTENT: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.csv", b"", "must hold a header and rows; it is empty"),
    "header only": ("a.csv", b"text,label\n", "it has a header \\(text, label\\) and nothing below"),
    "blank header": ("a.csv", b",\na,b\n", "must name the columns; it is blank"),
    "duplicate header": ("a.csv", b"text,text\na,b\n", "'text' occurs 2 times"),
    "wrong column": (
        "a.csv",
        b"txt,label\na,b\nc,d\n",
        r"data.text must name a column.*'txt', 'label'\.\nDid you mean txt",
    ),
    "wrong delimiter": ("a.csv", b"text;label\na;b\n", "divided by ';'"),
    "latin-1": ("a.csv", b"text,label\nok,1\ncaf\xe9,0\n", "byte 19 on line 3 is not"),
    "utf-16": ("a.csv", "text,label\n".encode("utf-16"), "iconv -f UTF-16"),
    "zero bytes": ("a.csv", b"text,label\na\x00,1\n", "it holds zero bytes"),
    "ragged": ("a.csv", b"text,label\na,1\nb,0,1\n", "header's 2 fields; line 3 has 3"),
    "open quote": ("a.csv", b'text,label\n"a,1\n', "line 2: unexpected end of data"),
    "huge field": ("a.csv", b"text,label\n" + b"x" * 1_100_000 + b",1\n", "field larger than field limit"),
    "blank text": ("a.csv", b"text,label\n ,1\nb,0\n", "1 row with no text in column 'text': line 2"),
    "no label": ("a.csv", b"text,label\na,\nb,nan\nc,1\n", "2 rows with no label in column 'label': line 2, 3"),
    "one class": ("a.csv", b"text,label\na,1\nb,1\n", "at least two labels"),
    "rare class": ("a.csv", b"text,label\n" + b"a,1\nb,0\n" * 9 + b"c,2\n", r"too few have '2' \(1\)"),
    "bad flag": ("a.csv", b"text,x,y\na,1,2\n", "must hold 0 or 1; .* line 2 has '2' in column 'y'"),
    "bad json": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text":\n', "line 2 is not: Expecting value"),
    "json array": ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2 is not"),
    "json nan": ("a.jsonl", b'{"text": "a", "label": NaN}\n', "NaN is not a JSON value"),
    "json depth": ("a.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n", "line 1 is not"),
    "json repeated key": ("a.jsonl", b'{"text": "a", "text": "b"}\n', "the key text occurs twice"),
    "json null label": ("a.jsonl", b'{"text": "a", "label": null}\n{"text": "a", "label": 1}\n', "no label .* line 1"),
    "json mixed": (
        "a.jsonl",
        b'{"text":"a","label":[1]}\n{"text":"a","label":1}\n',
        "where others have a list: line 2",
    ),
    "not a workbook": ("a.xlsx", b"<html>", "must be an Excel workbook; it is not"),
    "not parquet": ("a.parquet", b"text", "must be a Parquet file"),
    "unknown kind": ("a.doc", b"text", "must be one of .csv, .tsv"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_a_file_that_cannot_be_used_is_refused(case: str, tmp_path: Path) -> None:
    name, content, message = CONTENT[case]
    (tmp_path / name).write_bytes(content)
    changes = {"label": ["x", "y"]} if case == "bad flag" else {}
    with pytest.raises(UserError, match=message):
        corpus.load(settings(tmp_path / name, **changes))


def test_a_zip_bomb_is_refused_unopened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 50_000_000)
    with pytest.raises(UserError, match="as a zip bomb does"):
        tables.read_table(tmp_path / "a.xlsx")


def test_a_label_that_train_lacks_is_refused_by_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv")
    write_csv(tmp_path / "test.csv", [("a", "yes"), ("b", "yess")])
    with pytest.raises(UserError, match=r"test\.csv line 3 has 'yess'\.\nDid you mean yes"):
        corpus.load(settings(tmp_path))


def test_a_folder_needs_one_file_per_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is none at"):
        corpus.load(settings(tmp_path / "nothing"))
    write_csv(tmp_path / "other.csv")
    with pytest.raises(UserError, match=r"holds other\.csv"):
        corpus.load(settings(tmp_path))
    write_csv(tmp_path / "train.csv")
    write_any(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(UserError, match=r"train\.csv and train\.jsonl are both train"):
        corpus.load(settings(tmp_path))


def test_a_hub_data_set_out_of_reach_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"org/none is not in the local cache.*\n.*data\.path=DIR"):
        corpus.load(settings(path=None).model_copy(update={"path": None, "name": "org/none"}))


def test_the_embedded_corpus_is_balanced_and_without_duplicates() -> None:
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({r["text"].lower() for r in rows}) >= 600
    assert set(Counter(r["sentiment"] for r in rows).values()) == {len(rows) // 3}
    aspects = Counter(a for r in rows for a in r["aspects"].split("|"))
    assert set(aspects) == {
        "price", "quality", "service", "story", "characters", "food", "atmosphere", "speed", "usability"
    }  # fmt: skip
    assert min(aspects.values()) > 80


def test_the_example_files_are_the_embedded_corpus() -> None:
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sheet = tables.read_table(EXAMPLES / "aspects.xlsx").columns
    assert list(zip(sheet["X_lable"], sheet["Y_lable"], strict=True)) == [(r["text"], r["aspects"]) for r in rows]
    polar = tables.read_table(EXAMPLES / "polarity.csv").columns
    kept = [(r["text"], r["sentiment"]) for r in rows if r["sentiment"] != "neutral"]
    assert list(zip(polar["text"], polar["label"], strict=True)) == kept
    ten = {name: table.columns for name, table in sources.read_splits(EXAMPLES / "ten_reviews").items()}
    assert Counter(ten["train"]["label"]) == {"positive": 5, "negative": 5}
    texts = [t for columns in ten.values() for t in columns["text"]]
    assert len(set(texts)) == len(texts) == 60


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_real_data_sets_load_with_their_official_splits() -> None:
    films = corpus.load(settings(SHARED / "rotten_tomatoes"))
    assert {name: len(s) for name, s in films.splits.items()} == {"train": 8530, "validation": 1066, "test": 1066}
    assert films.space == labels.LabelSpace("binary", ("0", "1"))
    emotions = corpus.load(settings(SHARED / "goemotions_ekman", label="labels"))
    assert {name: len(s) for name, s in emotions.splits.items()} == {"train": 43410, "validation": 5426, "test": 5427}
    assert emotions.space.objective == "multilabel"
    assert len(emotions.space.names) == 7


def test_conf_paths_exist() -> None:
    assert (CONF.parent / composed().data.path).samefile(REVIEWS)


def test_too_few_rows_for_a_cut_name_the_key_that_asks_for_them(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", [(f"t{i}", "ab"[i % 2]) for i in range(10)])
    with pytest.raises(UserError, match=r"on both sides, here 2; data\.test_fraction=0\.1 takes 1 of the 8 rows"):
        corpus.load(settings(path))
    with pytest.raises(UserError, match=r"data\.limit=1 takes 1 of the \d+ rows at hand\.\nChange data\.limit"):
        corpus.load(settings(write_csv(tmp_path / "more.csv", ROWS), limit=1))


def test_plain_lines_are_texts_without_labels(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffone\r\n\r\n  two\u2028still two \r\nthree\n".encode())
    table = tables.read_table(file)
    assert table.columns == {"text": ["one", "  two\u2028still two ", "three"]}
    assert table.rows == [1, 3, 4]
    file.write_text("\n".join(f"text {i}" for i in range(40)), encoding="utf-8")
    settings = check(composed("model=bert_mlm", "data=lines", f"data.path={file}"))
    splits = corpus.load(settings.data, masked=True).splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 32, "validation": 4, "test": 4}
    assert sorted(int(t.split()[1]) for split in splits.values() for t in split.texts) == list(range(40))
    with pytest.raises(UserError, match=r"data\.label must name a column"):
        corpus.load(check(composed("data=table", f"data.path={file}")).data)
