"""Regression from training to prediction, explanation, export and comparison."""

from __future__ import annotations

import csv
import json
import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch

from src.predict import Predictor
from src.runs.folder import RunFolder
from tests.conftest import main, power_cut, refusal, review_texts

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


@pytest.fixture
def prices(tmp_path: Path) -> list[str]:
    """Overrides for reviews with two numbers: one that a word tells, far from 0, and their length."""
    file = tmp_path / "prices.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        goods = np.random.default_rng(0).integers(0, 6, 120).tolist()
        texts = [f"{text[:20]} {'good ' * good}" for text, good in zip(review_texts(), goods, strict=False)]
        rows = [(text, 5000 + 100 * good, len(text) / 7) for text, good in zip(texts, goods, strict=True)]
        csv.writer(opened).writerows([("text", "price", "size"), *rows])
    data = ["data=table", f"data.path={file}", "data.label=price", "data.task=regression", "data.limit=120"]
    return [*data, "model=bert_linear"]


def numbers_of(folder: RunFolder) -> tuple[np.ndarray, np.ndarray, list[str]]:
    table = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet")
    true, said = (np.array(table.column(name).to_pylist()) for name in ("true", "predicted"))
    return true, said, table.column("text").to_pylist()


def test_scores_are_those_of_the_predictions_in_their_units(run_tiny: Run, prices: list[str]) -> None:
    folder, result = run_tiny(*prices, "freeze=none", "optimizer.lr=1e-3", "trainer.max_epochs=8")
    true, said, texts = numbers_of(folder)
    scores = result["metrics"]["test"]
    assert list(scores) == ["loss", "pearson", "spearman", "r2", "mae", "rmse"]
    assert scores["mae"] == pytest.approx(np.abs(said - true).mean(), rel=1e-4)
    assert scores["rmse"] == pytest.approx(np.sqrt(((said - true) ** 2).mean()), rel=1e-4)
    assert scores["loss"] == pytest.approx((((said - true) / result["target_std"][0]) ** 2).mean(), rel=1e-3)
    assert scores["pearson"] == pytest.approx(np.corrcoef(said[:, 0], true[:, 0])[0, 1], abs=1e-4)
    assert scores["pearson"] > 0.3  # it has learned something
    assert 5100 < said.mean() < 5400
    assert result["per_target"]["price"]["mae"] == pytest.approx(scores["mae"])
    assert {file.name for file in (folder.path / "report").iterdir()} == {"scores.txt", "scatter.png", "curves.png"}
    assert Predictor.load(folder.path).probabilities(texts) == pytest.approx(said, rel=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_stored_and_computed_states_give_the_same(
    architecture: str, run_tiny: Run, prices: list[str], backbone_folder: Callable[[str], Path]
) -> None:
    options = [*prices, f"backbone.name={backbone_folder(architecture)}", "freeze=all", "trainer.deterministic=true"]
    found = [numbers_of(run_tiny(*options, f"activations={mode}", name=mode)[0])[1] for mode in ("require", "off")]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [("freeze=all",), ("freeze=none", "data.label=[price,size]", "model.loss=huber"), ("freeze=mix",)],
    ids=["all", "two targets", "mix"],
)
def test_a_resumed_run_goes_on_bit_for_bit(options: tuple[str, ...], run_tiny: Run, prices: list[str]) -> None:
    _, whole = run_tiny(*prices, *options)
    with power_cut(1, 1):
        run_tiny(*prices, *options, name="broken")
    _, resumed = run_tiny(*prices, *options, "resume=true", name="broken")
    assert resumed["metrics"] == whole["metrics"]


def test_two_targets_of_different_sizes_count_alike(run_tiny: Run, prices: list[str]) -> None:
    options = [*prices, "data.label=[price,size]", "freeze=none", "optimizer.lr=1e-3", "trainer.max_epochs=6"]
    folder, result = run_tiny(*options)
    true, said, _ = numbers_of(folder)
    assert true.shape == said.shape == (12, 2)
    each = result["per_target"]
    assert result["metrics"]["test"]["pearson"] == pytest.approx(
        (each["price"]["pearson"] + each["size"]["pearson"]) / 2
    )
    assert each["size"]["rmse"] < 50 < each["price"]["rmse"]


@pytest.mark.rare
def test_files_get_numbers_and_are_evaluated(
    run_tiny: Run, prices: list[str], said: Callable[..., str], tmp_path: Path
) -> None:
    folder, result = run_tiny(*prices, "freeze=all")
    true, predicted, texts = numbers_of(folder)
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"text": text, "price": float(value[0])} for text, value in zip(texts, true, strict=True)]
    file.write_text("\n".join(map(json.dumps, rows)))
    report = said(run=str(folder.path), input=str(file), output=str(out), evaluate=True)
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prediction_price"] for row in found] == pytest.approx(predicted[:, 0].tolist(), rel=1e-5)
    scores = dict(line.split() for line in report.splitlines())
    assert float(scores["mae"]) == pytest.approx(result["metrics"]["test"]["mae"], abs=1e-2)
    assert said(run=str(folder.path), text=texts[0]).split() == ["price", f"{predicted[0, 0]:.4g}"]


@pytest.mark.parametrize(("kind", "pooling"), [("huggingface", "mean"), ("huggingface", "pooler"), ("onnx", "mean")])
def test_exports_give_the_same_numbers(
    kind: str, pooling: str, run_tiny: Run, prices: list[str], tmp_path: Path
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    options = [*prices, "data.label=[price,size]", "freeze=none", f"model.pooling={pooling}", "trainer.max_epochs=1"]
    folder, _ = run_tiny(*options)
    out = tmp_path / "exported"
    main("export", [f"run={folder.path}", f"format={kind}", f"output={out}"])
    _, numbers, texts = numbers_of(folder)
    card = (out / "README.md").read_text()
    assert "| targets | price, size |" in card
    if (kind, pooling) == ("huggingface", "pooler"):
        from transformers import pipeline

        config = json.loads((out / "config.json").read_text())
        assert config["problem_type"] == "regression"
        given: Any = pipeline("text-classification", model=str(out), function_to_apply="none", top_k=None)
        said = given(texts[:3], truncation=True)
    elif kind == "huggingface":  # with a loader of its own, which has the formula of `in_units` once more
        said = runpy.run_path(str(out / "load.py"))["load"](out)(texts[:3])
    else:
        return
    found = [{scored["label"]: scored["score"] for scored in row} for row in said]
    assert np.array([[row["price"], row["size"]] for row in found]) == pytest.approx(numbers[:3], rel=1e-3)


def test_an_explanation_is_about_the_number(run_tiny: Run, prices: list[str]) -> None:
    folder, _ = run_tiny(*prices, "freeze=none", "trainer.max_epochs=1")
    main("explain", [f"run={folder.path}", "text=A very good phone", "name=one", "layers=[0]", "heads=[0]"])
    record = json.loads((folder.path / "explanations" / "one" / "explanation.json").read_text())["runs"][0]
    number = record["numbers"]["price"]
    assert number == pytest.approx(Predictor.load(folder.path, "float32")(["A very good phone"])[0][0][1], rel=1e-4)
    change = record["importance"]["integrated_gradients"]
    assert sum(change["tokens"]["price"]) == pytest.approx(change["change"]["price"], rel=0.2, abs=1.0)
    page = (folder.path / "explanations" / "one" / "index.html").read_text()
    assert "predicts <strong>price</strong>" in page
    assert "probability" not in page.partition("<script")[0]


@pytest.mark.slow
def test_runs_are_compared_by_texts_and_seeds(run_tiny: Run, prices: list[str], tmp_path: Path) -> None:
    for freeze in ("all", "none"):
        for seed in (1, 2, 3):
            run_tiny(*prices, f"freeze={freeze}", f"seed={seed}", "optimizer.lr=1e-3", name=f"sweep/{freeze}{seed}")
    root = tmp_path / "sweep"
    main("compare", [f"runs={root}"])
    found = json.loads((root / "comparison.json").read_text())
    assert found["metric"] == "pearson"
    for row in found["rows"]:
        assert set(row["scores"]) == {"pearson", "r2"}
        if row["name"] == "all":
            assert row["evidence"] == "seeds and texts"
            assert row["difference_interval"] is not None
    main("compare", [f"runs={root}", "metric=r2"])
    assert json.loads((root / "comparison.json").read_text())["metric"] == "r2"


def test_the_loss_is_in_standard_deviations() -> None:
    from src.data.labels import LabelSpace
    from src.modules.losses import Loss

    space = LabelSpace("regression", ("a", "b"), mean=(0.0, 10.0), std=(1.0, 100.0))
    said, true = torch.tensor([[0.5, 310.0]]), torch.tensor([[0.0, 10.0]])
    assert Loss(space)(said, true).tolist() == pytest.approx([(0.25 + 9) / 2])
    assert Loss(space, huber=True)(said, true).tolist() == pytest.approx([(0.125 + 2.5) / 2])


def test_scores_without_spread() -> None:
    from src.modules.metrics import measure_numbers

    numbers, same = torch.tensor([[1.0], [2.0], [4.0]]), torch.full((3, 1), 2.0)
    found = measure_numbers(same, numbers)
    assert (found["pearson"], found["spearman"]) == (0, 0)
    assert found["r2"] == pytest.approx(1 - (1 + 0 + 4) / 3 / numbers.var(correction=0).item())
    assert all(math.isnan(measure_numbers(numbers, same)[name]) for name in ("pearson", "spearman", "r2"))
    years = 2000 + numbers / 100  # close together, and far from 0
    assert measure_numbers(years, years)["pearson"] == pytest.approx(1)
    rates = measure_numbers(same / 1000, numbers / 1000)  # with errors that torchmetrics takes for none
    assert rates["r2"] == pytest.approx(found["r2"], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.loss=focal"], "model.loss=focal is for classes; data.task=regression predicts numbers"),
        (["model.label_smoothing=0.1"], "model.label_smoothing is for classes"),
        (["data.task=auto", "model.loss=mse"], "model.loss=mse is for numbers; data.task=auto predicts classes"),
        (
            ["monitor.metric=validation/accuracy", "data.max_length=32"],
            "monitor.metric must be validation/ and a score of this task",
        ),
        (
            ["monitor.metric=validation/f1/price", "data.max_length=32"],
            "and a score of this task; got validation/f1/price",
        ),
        (
            ["data.label_names=[a,b]", "data.class_weights=balanced"],
            "data.label_names and data.class_weights are for classes; task=regression predicts numbers.\nLeave them",
        ),
        (["data.class_weights=balanced"], "data.class_weights is for classes; task=regression predicts numbers"),
        (["data.label=text", "data.max_length=32"], "something other than a number in column 'text'"),
    ],
)
def test_mistakes(
    options: list[str], message: str, prices: list[str], tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal("train", [f"backbone.name={tiny_bert}", *prices, *options], capsys)


@pytest.mark.rare
def test_a_plan_and_advice(
    prices: list[str], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*prices, f"backbone.name={tiny_bert}", "trainer=cpu", f"cache={tmp_path / 'cache'}", "data.max_length=32"]
    main("plan", [*given, "freeze=gradual"])
    assert "head" in capsys.readouterr().out
    given = [*given, "data.test_fraction=0.05", "data.validation_fraction=0.05"]
    main("advise", [option for option in given if option != "model=bert_linear"] + [f"folder={tmp_path / 'advice'}"])
    found = json.loads((tmp_path / "advice" / "advise.json").read_text())
    assert found["backbones"][0]["metric"] == "pearson"


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.rare
def test_documents_in_windows_have_a_number(
    pooling: str, run_tiny: Run, prices: list[str], tmp_path: Path, said: Callable[..., str]
) -> None:
    windows = ["data.windows=true", "data.max_length=12", "data.stride=2", f"model.windows={pooling}"]
    folder, result = run_tiny(*prices, *windows, "freeze=all")
    _, numbers, texts = numbers_of(folder)
    assert Predictor.load(folder.path).probabilities(texts) == pytest.approx(numbers, rel=1e-5)
    longest = max(texts, key=len)
    main(
        "explain",
        [f"run={folder.path}", f"text={longest}", "name=one", "methods=[occlusion]", "layers=[0]", "heads=[0]"],
    )
    record = json.loads((folder.path / "explanations" / "one" / "explanation.json").read_text())["runs"][0]
    assert record["numbers"]["price"] == pytest.approx(numbers[texts.index(longest), 0], rel=1e-3)
    assert record["window"]["of"] > 1
    main("export", [f"run={folder.path}", "format=huggingface", f"output={tmp_path / 'out'}"])
    assert result["metrics"]["test"]["rmse"] < 1000
