"""Tables, labels and splits: what is read, what is inferred, what is refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from src.config.data import Data
from src.config.folder import CONF
from src.config.validation import check
from src.data import corpus, labels
from src.errors import UserError
from src.tables import sources, tables
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


@pytest.mark.parametrize("limit", [5, 50, 333, 600, 671])
def test_limit_is_exact_for_several_labels_too(limit: int) -> None:
    whole = corpus.load(Data.model_validate(composed("data=reviews_aspects").data)).splits
    assert {name: len(split) for name, split in whole.items()} == {"train": 672, "validation": 192, "test": 96}
    cut = corpus.load(Data.model_validate({**composed("data=reviews_aspects").data, "limit": limit})).splits
    for name, split in cut.items():
        assert len(split) == len(set(split.rows.tolist())) == min(limit, len(whole[name]))
        share = len(split) / len(whole[name])
        # Of every label as many as there should be, but for two.
        assert np.abs(split.targets.sum(0) - share * whole[name].targets.sum(0)).max() <= 2


@pytest.mark.parametrize("limit", [3, 20, 58, 59])
def test_limit_takes_rows_of_rare_labels_and_leaves_as_few_as_it_should(limit: int, tmp_path: Path) -> None:
    rows = [(f"text {i}", "a" if i < 40 else "b" if i < 59 else "rare") for i in range(60)]
    for name in ("train", "validation", "test"):
        write_csv(tmp_path / f"{name}.csv", [(f"{name} {t}", label) for t, label in rows])
    found = corpus.load(settings(tmp_path, limit=limit))
    counts = {3: [1, 1, 1], 20: [13, 6, 1], 58: [39, 18, 1], 59: [39, 19, 1]}[limit]
    for split in found.splits.values():
        assert np.bincount(split.targets).tolist() == counts
    again = corpus.load(settings(tmp_path, limit=limit, seed=7))
    assert limit == 3 or again.splits["test"].rows.tolist() != found.splits["test"].rows.tolist()


@pytest.mark.parametrize("limit", [None, 20])
def test_a_rare_label_is_in_every_split_that_is_cut(limit: int | None, tmp_path: Path) -> None:
    rows = [(f"text {i}", "ab"[i % 2] if i < 300 else "rare") for i in range(303)]
    for seed in range(3):
        splits = corpus.load(settings(write_csv(tmp_path / "data.csv", rows), limit=limit, seed=seed)).splits
        assert [Counter(split.targets.tolist())[2] for split in splits.values()] == [1, 1, 1]


def test_a_label_that_one_cut_leaves_a_row_of_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", [*ROWS, *(("rare", "rare") for _ in range(3))])
    with pytest.raises(UserError, match=r"for data\.test_fraction=0\.2, a label has only one row left in \S+data\.csv"):
        corpus.load(settings(path, validation_fraction=0.6, test_fraction=0.2))


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
    weights = corpus.load(settings(write_csv(tmp_path / "data.csv", rows))).label_weights("balanced")
    np.testing.assert_allclose(weights, [40 / 2 / 30, 40 / 2 / 10], rtol=0.02)
    several = [(f"t{i}", "always|rare" if i % 4 == 0 else "always") for i in range(40)]
    loaded = corpus.load(settings(write_csv(tmp_path / "several.csv", several), label_delimiter="|"))
    np.testing.assert_allclose(loaded.label_weights("balanced"), [1 / 28, 3])  # of 28 for training


def test_a_label_that_no_training_text_has_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("train", "validation", "test"):
        rows = [{"text": f"{name} {i}", "label": [i % 2, int(name == "test"), 0]} for i in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus.load(settings(tmp_path))
    assert "No training text has the label 1, so that it cannot be learned; others have it." in caplog.text


def test_weights_by_label_leave_the_others_at_one(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", [(f"t{i}", "rare" if i % 4 == 0 else "common") for i in range(40)])
    assert corpus.load(settings(path)).label_weights({"rare": 5.0}).tolist() == [1, 5]
    with pytest.raises(UserError, match=r"class_weights must name labels; 'rara' is none\.\nDid you mean rare"):
        corpus.load(settings(path).model_copy(update={"class_weights": {"rara": 5.0}}))


def test_texts_with_several_labels_cannot_be_sampled_by_label(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data.csv", [(f"t{i}", "a;b" if i % 2 else "b") for i in range(40)])
    several = settings(path).model_copy(update={"label_delimiter": ";", "sampling": "balanced"})
    with pytest.raises(UserError, match="needs texts with one label each"):
        corpus.load(several)


def test_rows_keep_the_line_numbers_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('text,label\n"two\nlines",a\n\nthird,b\n')
    assert tables.read_table(tmp_path / "data.csv").rows == [2, 5]


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
    ten = {name: table.columns for name, table in sources.read_splits(settings(EXAMPLES / "ten_reviews")).items()}
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
