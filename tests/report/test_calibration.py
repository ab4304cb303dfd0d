"""Calibrated probabilities and thresholds: from the end of a training to what reads the run."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet
import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir
from sklearn import metrics as sk

from src import explain
from src.comparison import evidence
from src.config.folder import CONF
from src.data.labels import LabelSpace
from src.errors import UserError
from src.export import export
from src.grouping.runs import read_run
from src.models.heads import LinearHead, probabilities
from src.models.networks import Network, fold_temperature, tempered
from src.predict import Predictor
from src.runs.folder import RunFolder
from src.runs.pretrain_config import stage_configs
from tests.conftest import composed, composed_for, power_cut

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
Data = Callable[[str], list[str]]
BINARY = ("data=table", "data.path=src/data/examples/polarity.csv")
TASKS = {"binary": ["bad", "good"], "multiclass": ["bad", "fair", "good"], "multilabel": ["bad", "fair", "good"]}
HEAD = ("freeze=all", "optimizer.head_lr=0.05")
QUICK = ("model=bert_linear", *HEAD)
UNCHANGED = ("accuracy", "f1_macro", "auroc", "mcc")


def predicted(run: RunFolder, split: str = "test") -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pyarrow.parquet.read_table(run.path / "predictions" / f"{split}.parquet").to_pydict()
    return found


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Texts that name their label, one in four the wrong one, so that no text tells its label for certain."""

    def write(task: str) -> list[str]:
        random, rows = np.random.default_rng(0), ["text,label"]
        for number in range(240):
            named = TASKS[task][number % len(TASKS[task])]
            label = named if random.random() < 0.75 else str(random.choice(TASKS[task]))
            rows.append(f"the food was {named} {number},{f'{label}|x' if task == 'multilabel' else label}")
        (tmp_path / f"{task}.csv").write_text("\n".join(rows))
        more = ["data.label_delimiter='|'"] if task == "multilabel" else []
        return ["data=table", f"data.path={tmp_path / f'{task}.csv'}", "data.limit=null", *more]

    return write


def exported(run: RunFolder, output: Path, *options: str) -> list[str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return export(compose("export", [f"run={run.path}", f"output={output}", *options]))


@pytest.mark.parametrize("task", TASKS)
def test_a_calibrated_run_has_other_probabilities_and_the_same_decisions(task: str, run_tiny: Run, data: Data) -> None:
    plain, before = run_tiny(*data(task), *QUICK, name="plain")
    run, after = run_tiny(*data(task), *QUICK, "calibration=temperature", name="calibrated")
    found, temperature = after["calibration"], after["calibration"]["temperature"]
    assert temperature != 1
    for name in ("validation", "test"):
        measured = {
            split: {key: part["metrics"][name][key] for key in UNCHANGED}
            for split, part in (("before", before), ("after", after))
        }
        assert measured["before"] == pytest.approx(measured["after"], abs=1e-6)
        for when, result in (("before", before), ("after", after)):
            assert found[name][when]["ece"] == pytest.approx(result["metrics"][name]["ece"], abs=1e-6)
            assert found[name][when]["nll"] == pytest.approx(result["metrics"][name]["loss"], abs=1e-5)
    assert found["validation"]["after"]["nll"] < found["validation"]["before"]["nll"]
    assert before["history"] == after["history"]
    assert "calibration" not in before
    texts, probs = predicted(run)["text"], np.array(predicted(run)["probabilities"])
    odds = np.log(np.array(predicted(plain)["probabilities"])) / temperature
    if task == "multiclass":
        assert probs == pytest.approx(np.exp(odds) / np.exp(odds).sum(1, keepdims=True), abs=1e-5)
    assert Predictor.load(run.path).probabilities(texts) == pytest.approx(probs, abs=1e-5)
    assert f"logits divided by {temperature:.3g}" in (run.path / "report" / "classification_report.txt").read_text()
    for metric in ("accuracy", "f1_macro", "auroc"):
        assert evidence._scores(read_run(run), metric, "test") is not None


@pytest.mark.parametrize(
    ("task", "model"),
    [("multilabel", ("model=bert_linear", "model.pooling=pooler")), ("binary", ("model.pooling=last",))],
)
def test_exports_need_nothing_for_the_temperature_and_keep_the_threshold(
    task: str, model: tuple[str, ...], run_tiny: Run, data: Data, tmp_path: Path
) -> None:
    run, result = run_tiny(*data(task), *model, *HEAD, "calibration=temperature", "threshold=0.3")
    assert result["calibration"]["temperature"] != 1
    texts, labels = predicted(run)["text"][:8], result["labels"]
    wanted = np.array(predicted(run)["probabilities"])[:8]
    exported(run, tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert config["thresholds"] == result["thresholds"]
    assert [*config["thresholds"].values()] == pytest.approx([0.3] * len(config["thresholds"]))
    card = (tmp_path / "hf" / "README.md").read_text()
    assert f"| temperature | {result['calibration']['temperature']:.4g}, in the weights |" in card
    if "model=bert_linear" in model:
        classify: Any = transformers.pipeline("text-classification", model=str(tmp_path / "hf"), top_k=None)
        rows = [{one["label"]: one["score"] for one in row} for row in classify(texts, truncation=True)]
        assert np.array([[row[label] for label in labels] for row in rows]) == pytest.approx(wanted, abs=1e-5)
    else:
        classify = runpy.run_path(str(tmp_path / "hf" / "load.py"))["load"](tmp_path / "hf")
        assert classify.probabilities(texts).numpy() == pytest.approx(wanted, abs=1e-5)
        said = [[one["label"] for one in row] if task == "multilabel" else row["label"] for row in classify(texts)]
        assert said == predicted(run)["predicted"][:8]
    exported(run, tmp_path / "onnx", "format=onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "onnx")
    encoded = tokenizer(texts, truncation=True, padding=True, return_tensors="np")
    (logits,) = session.run(["logits"], {given.name: encoded[given.name] for given in session.get_inputs()})
    assert probabilities(torch.from_numpy(logits), task).numpy() == pytest.approx(wanted, abs=1e-4)


COSTS = ("costs.false_positive=1", "costs.false_negative=3")


@pytest.mark.parametrize("rule", ["f1", "cost", "0.3"])
def test_a_binary_run_predicts_by_its_threshold(rule: str, run_tiny: Run, data: Data, said: Callable[..., str]) -> None:
    run, result = run_tiny(*data("binary"), *QUICK, f"threshold={rule}", *(COSTS if rule == "cost" else ()))
    (label, limit), (negative, positive) = *result["thresholds"].items(), result["labels"]
    assert label == positive
    rows = predicted(run, "validation")
    probs, truth = np.array(rows["probabilities"])[:, 1], np.array(rows["true"]) == positive

    def worth(threshold: float) -> float:
        (_, wrong), (missed, hits) = sk.confusion_matrix(truth, probs >= threshold)
        if rule == "f1":
            return float(2 * hits / (2 * hits + wrong + missed))
        return float(-(wrong + 3 * missed))

    if rule == "0.3":
        assert limit == pytest.approx(0.3)
    else:
        assert worth(limit) == pytest.approx(max(map(worth, [*probs, 2])))
    rows, metrics = predicted(run), result["metrics"]["test"]
    decided = [positive if row[1] >= limit else negative for row in rows["probabilities"]]
    assert rows["predicted"] == decided
    assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(rows["true"], decided))
    assert metrics["f1_macro"] == pytest.approx(sk.f1_score(rows["true"], decided, average="macro"))
    likeliest = [result["labels"][int(np.argmax(row))] for row in rows["probabilities"]]
    assert metrics["accuracy_at_half"] == pytest.approx(sk.accuracy_score(rows["true"], likeliest))
    assert result["per_label"][positive]["f1"] == pytest.approx(sk.f1_score(rows["true"], decided, pos_label=positive))
    report = (run.path / "report" / "classification_report.txt").read_text()
    assert f"{positive} predicted from a probability of {limit:.3g} on" in report
    text, predictor = rows["text"][0], Predictor.load(run.path)
    assert [one for (one,) in predictor.decide(predictor.probabilities(rows["text"]))] == decided
    (marked,) = [line for line in said(run=str(run.path), text=text).splitlines() if line.endswith(" *")]
    assert marked.split()[0] == decided[0]
    for metric in ("accuracy", "f1_macro", "auroc"):
        assert evidence._scores(read_run(run), metric, "test") is not None
    if rule == "0.3":
        cfg = composed_for("explain", run=str(run.path), text=text, methods=["gradient_input"])
        page = explain.explain(cfg).read_text(encoding="utf-8")
        assert f"predicts <strong>{decided[0]}</strong> by its threshold" in page.replace(" \n", " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("data=reviews", "threshold=f1"), "threshold=f1 needs labels that are predicted or not"),
        (
            ("model=bert_mlm", "calibration=temperature", "threshold=0.3"),
            "masked language modelling has none.\n.*\nthreshold=0.3 needs .* masked language modelling has none",
        ),
        (
            (
                "data.task=regression",
                "data=table",
                "data.path=numbers.csv",
                "calibration=temperature",
            ),
            "calibration=temperature needs probabilities of labels; data.task=regression has none",
        ),
        (
            (*BINARY, "threshold=cost", "costs.false_positive=1"),
            "costs.false_negative has no value",
        ),
        ((*BINARY, "threshold=cost"), "costs.false_positive and costs.false_negative have no value"),
        ((*BINARY, "threshold=f2"), "threshold must be f1, youden, cost, or a probability .*; got f2"),
        ((*BINARY, "threshold=1"), "threshold must be f1, youden, cost, or a probability .*; got 1"),
        ((*BINARY, "calibration=platt"), "calibration has an invalid value: 'platt'"),
    ],
)
def test_what_has_no_probabilities_or_decisions_is_refused(
    options: tuple[str, ...], message: str, run_tiny: Run, tmp_path: Path
) -> None:
    if "data.task=regression" in options:
        (tmp_path / "numbers.csv").write_text("text,label\n" + "".join(f"text {n},{n / 7}\n" for n in range(60)))
        options = tuple(o if "numbers" not in o else f"data.path={tmp_path / 'numbers.csv'}" for o in options)
    with pytest.raises(UserError, match=f"(?s){message}"):
        run_tiny(*options, "trainer.max_epochs=1")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_has_the_same_temperature_and_threshold(run_tiny: Run, data: Data) -> None:
    options = (*data("binary"), *QUICK, "calibration=temperature", "threshold=youden")
    _, whole = run_tiny(*options, name="whole")
    with power_cut(1, 0):
        run_tiny(*options, name="parts")
    _, parts = run_tiny(*options, "resume=true", name="parts")
    assert len(parts["resumed"]) == 1
    for key in ("calibration", "thresholds", "metrics"):
        assert parts[key] == whole[key]


def test_what_validation_does_not_tell_is_a_warning(
    run_tiny: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("good food", "yes"), ("bad food", "no")] * 20
    for split, chosen in (("train", rows), ("validation", rows[::2]), ("test", rows)):
        lines = "".join(f"{text} {number},{label}\n" for number, (text, label) in enumerate(chosen))
        (tmp_path / f"{split}.csv").write_text(f"text,label\n{lines}")
    _, result = run_tiny("data=table", f"data.path={tmp_path}", *QUICK, "calibration=temperature", "threshold=f1")
    assert result["calibration"]["temperature"] == 1
    assert result["thresholds"] == {"yes": 0.5}
    assert "leaves probabilities as they are: of the validation texts, all have the same label" in caplog.text
    assert "threshold=f1 takes 0.5 for yes" in caplog.text


def test_runs_of_pretraining_calibrate_the_classifier_alone() -> None:
    cfg = composed("experiment=mlm_then_classify", "calibration=temperature")
    first, second = stage_configs(cfg, RunFolder(Path("run")))
    assert (first.calibration, second.calibration) == (None, "temperature")


def test_a_temperature_is_folded_into_the_logits_alone() -> None:
    head: Any = LinearHead(4, 3, "mean", 0.0)  # two labels, and the score of a window
    encoder: Any = torch.nn.Identity()
    network = Network(encoder, head, [], [], LabelSpace("multilabel", ("a", "b")), "attention", 2.5)
    vectors = torch.randn(5, 4)
    with torch.no_grad():
        before = head(vectors)
        fold_temperature(network)
        torch.testing.assert_close(head(vectors), tempered(before, 2, 2.5))
    torch.testing.assert_close(tempered(before, 2, 2.5)[:, 2], before[:, 2])
    assert network.temperature == 1


def test_a_run_of_before_these_keys_is_read_as_one_without(run: RunFolder) -> None:
    text = (run.path / "config.yaml").read_text()
    begin, end = text.index("calibration:"), text.index("run:", text.index("costs:"))
    (run.path / "config.yaml").write_text(text[:begin] + text[end:])
    cfg = run.saved_config()
    assert (cfg.calibration, cfg.threshold, cfg.costs.false_positive) == (None, None, None)
    assert read_run(run).values["calibration"] == "null"
    assert Predictor.load(run.path).network.temperature == 1
