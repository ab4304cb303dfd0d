"""Hundreds or thousands of labels: what shows a result stays as small as a page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import predict
from src.comparison.differences import most_different_classes
from src.data.labels import LabelSpace
from src.explain import explain
from src.explanation import plots as explanation_plots
from src.export import export
from src.pages import figures
from src.predict import Predictor
from src.report import plots
from src.report.classification import most_confused
from src.runs.folder import RunFolder
from tests.conftest import composed_for

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
MANY = 60


def space(labels: int, objective: str = "multiclass") -> LabelSpace:
    return LabelSpace(objective, tuple(f"label {i:05}" for i in range(labels)))  # type: ignore[arg-type]


def said(labels: int, rows: int) -> tuple[Any, Any]:
    """True labels, and predictions of which half are right."""
    chance = np.random.default_rng(0)
    true = chance.integers(0, labels, rows)
    return np.where(chance.random(rows) < 0.5, true, chance.integers(0, labels, rows)), true


def pixels(figure: Figure) -> tuple[int, int]:
    file = io.BytesIO()
    figure.savefig(file, dpi=120)
    file.seek(0)
    height, width, _ = imread(file).shape
    return height, width


@pytest.mark.parametrize("labels", [41, 1_500, 20_000])
def test_the_picture_of_many_labels_is_no_larger(labels: int) -> None:
    predicted, true = said(labels, 4 * labels)
    figure = plots.confusion(predicted, true, space(labels), "Test")
    assert max(pixels(figure)) <= 1_500
    assert not figure.axes[0].texts
    assert len(figure.axes[0].get_xticklabels()) < 30
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape == (min(labels, plots.CELLS),) * 2
    if labels <= plots.CELLS:
        expected = confusion_matrix(true, predicted, labels=range(labels), normalize="true")
        np.testing.assert_allclose(shown, expected)
    else:
        width = labels // plots.CELLS
        rows = true // width == 7
        assert shown[7].sum() == pytest.approx(1)
        assert shown[7, 7] == pytest.approx((predicted[rows] // width == 7).mean())


def test_of_many_labels_of_a_text_the_picture_has_those_with_the_most_mistakes() -> None:
    true = np.zeros((100, 300), dtype=int)
    predicted = true.copy()
    for label in range(300):
        predicted[: label % 97, label] = 1  # so many mistakes
    figure = plots.confusion(predicted, true, space(300, "multilabel"), "Test")
    assert max(pixels(figure)) <= 2_500
    most = sorted(np.argsort(-predicted.sum(0), kind="stable")[:40].tolist())
    assert [axes.get_title() for axes in figure.axes] == [f"label {label:05}" for label in most]
    assert figure.get_suptitle() == "Test: the 40 of 300 labels with the most errors"


def test_pairs_are_listed_by_how_often_they_are_confused() -> None:
    true = np.array([0, 0, 0, 0, 1, 2, 2, 2])
    predicted = np.array([0, 1, 1, 2, 0, 0, 0, 0])
    lines = most_confused(predicted, true, LabelSpace("multiclass", ("a", "b", "c"))).splitlines()
    assert [line.split(maxsplit=2) for line in lines[2:]] == [
        ["3", "3", "c, a"],
        ["2", "4", "a, b"],
        ["1", "4", "a, c"],
        ["1", "1", "b, a"],
    ]
    predicted, true = said(3_000, 9_000)
    assert len(most_confused(predicted, true, space(3_000)).splitlines()) == 42


def test_a_comparison_shows_the_classes_in_which_groups_differ() -> None:
    names = [f"c{i:03}" for i in range(90)]
    mine, theirs = dict.fromkeys(names, 0.5), dict.fromkeys(names, 0.5)
    theirs |= {"c050": 0.1, "c003": 0.9, "c089": 0.6}
    found = most_different_classes({"mine": mine, "theirs": theirs}, 3)
    assert found == ["c050", "c003", "c089"]
    assert most_different_classes({"mine": mine}, 90) == names


@pytest.mark.rare
def test_the_picture_of_a_long_text_has_the_words_that_matter_most() -> None:
    values = [float(i % 700) for i in range(8_000)]
    figure = explanation_plots.importance([f"w{i}" for i in range(8_000)], values, "long")
    assert max(pixels(figure)) < 10_000
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == 300
    assert shown == sorted(shown, key=lambda name: int(name[1:]))
    assert min(int(name[1:]) % 700 for name in shown) == 672  # 27 values have 11 words each, and 3 more


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("many") / "labels.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        writer.writerows([f"text {i} of case {row}", f"label {i:03}"] for i in range(MANY) for row in range(4))
    return file


@pytest.fixture
def many(run_tiny: Run, table: Path) -> tuple[RunFolder, dict[str, Any]]:
    fractions = ("data.validation_fraction=0.25", "data.test_fraction=0.25", "data.limit=null")
    return run_tiny("data=table", f"data.path={table}", "model=bert_linear", *fractions)


def test_a_run_with_many_labels_shows_what_a_page_holds(many: tuple[RunFolder, dict[str, Any]]) -> None:
    folder, _ = many
    report = (folder.path / "report" / "classification_report.txt").read_text()
    assert len(re.findall(r"^ *label \d+ ", report, re.MULTILINE)) == MANY
    lines = (folder.path / "report" / "most_confused.txt").read_text().splitlines()
    assert lines[0].split() == ["rows", "of", "true", "label,", "predicted", "label"]
    told = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet").to_pylist()
    pairs = [(row["true"], row["predicted"]) for row in told if row["true"] != row["predicted"]]
    count, of, pair = lines[2].split(maxsplit=2)
    true, predicted = pair.split(", ")
    assert int(count) == pairs.count((true, predicted)) == max(map(pairs.count, pairs))
    assert int(of) == sum(row["true"] == true for row in told)
    f1 = [float(line.split()[-2]) for line in report.splitlines() if re.match(r" *label \d+ ", line)]
    assert f1 == sorted(f1)
    log = (folder.path / "train.log").read_text()
    assert "Most often confused:\n  rows       of  true label, predicted label\n" + lines[2] in log
    (events,) = (folder.path / "tensorboard").glob("*")
    board = EventAccumulator(str(events), size_guidance={"tensors": 0})
    board.Reload()
    assert sum(tag.startswith("test/label") for tag in board.Tags()["tensors"]) == figures.MOST
    assert "test/most_confused/text_summary" in board.Tags()["tensors"]


def test_the_terminal_shows_averages_alone(run_tiny: Run, table: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    fractions = ("data.validation_fraction=0.25", "data.test_fraction=0.25", "data.limit=null")
    run_tiny("data=table", f"data.path={table}", "model=bert_linear", *fractions)
    assert not re.search(r"^ *label \d+ ", caplog.text, re.MULTILINE)
    assert re.search(r"^ *precision +recall.*\n\n.*accuracy.*\n.*macro avg", caplog.text, re.MULTILINE)
    assert "The file has one line per label (60)." in caplog.text


def test_a_text_an_explanation_and_a_card_show_the_first_labels(
    many: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    folder, result = many
    predictor = Predictor.load(folder.path)
    lines = predict.format_prediction(predictor, "text 3", None).splitlines()
    scored = predictor(["text 3"])[0]
    assert [line.rpartition(" ")[0].strip() for line in lines[:-1]] == [name for name, _ in scored[:40]]
    assert lines[-1] == "and 20 more labels"
    page = explain(composed_for("explain", run=str(folder.path), text="text 3", methods=["occlusion"], name="one"))
    table = page.read_text().partition('class="probabilities"')[2].partition("</table>")[0]
    assert re.findall(r"<tr><td>(.*?)</td>", table) == [name for name, _ in scored[:40]]
    assert "The most probable of 60 labels" in page.read_text()
    assert len(json.loads((page.parent / "explanation.json").read_text())["runs"][0]["probabilities"]) == MANY
    export(composed_for("export", run=str(folder.path), output=str(tmp_path / "out")))
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| {', '.join(result['labels'][:40])}, … |" in card
    assert "| number of labels | 60 |" in card


def test_probabilities_are_kept_as_they_were(many: tuple[RunFolder, dict[str, Any]]) -> None:
    folder, _ = many
    found = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet")
    assert str(found.schema.field("probabilities").type) in ("list<item: double>", "list<element: double>")
    rows: Sequence[dict[str, Any]] = found.to_pylist()
    expected = Predictor.load(folder.path).probabilities([row["text"] for row in rows])
    np.testing.assert_allclose(np.array([row["probabilities"] for row in rows]), expected, atol=1e-6)
