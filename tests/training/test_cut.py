"""Runs whose encoder ends after a layer: trained, resumed, used, explained, exported, planned and compared."""

from __future__ import annotations

import json
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

from src import train as training
from src.backbones import loading
from src.config.folder import CONF
from src.errors import UserError
from src.explain import explain
from src.export import export
from src.exports.formats import SAMPLES
from src.exports.loader import load
from src.exports.native import read_classifier
from src.grouping.groups import group
from src.grouping.runs import read_runs
from src.models import checks
from src.plan import plan
from src.prediction.predictor import Predictor
from src.runs import pretrain_config
from src.runs.folder import RunFolder
from tests.conftest import ARCHITECTURES, LAYERS, composed, power_cut, refusal

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
CUT = ("freeze=cut", "freeze.layers=2", "model=bert_linear", "optimizer.lr=1e-3")
SMALL = ("data.limit=60", "data.max_length=32", "trainer=cpu")
TRAINED = (*CUT, "freeze.train=1")


def probabilities(run: RunFolder, texts: list[str]) -> torch.Tensor:
    labels = run.read_result()["labels"]
    rows = [dict(scores) for scores in Predictor.load(run.path)(texts)]
    return torch.tensor([[row[label] for label in labels] for row in rows])


def exported(run: RunFolder, output: Path, *options: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        export(compose("export", [f"run={run.path}", f"output={output}", *options]))


def losses(result: dict[str, Any]) -> list[float]:
    return [epoch[f"{split}/loss"] for epoch in result["history"] for split in ("train", "validation")]


@pytest.mark.parametrize("train", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "albert"])
def test_every_architecture_trains_from_a_store_and_predicts(
    architecture: str, train: int, run_tiny: Run, backbone_folder: Callable[[str], Path]
) -> None:
    options = [*CUT, f"freeze.train={train}", f"backbone.name={backbone_folder(architecture)}"]
    _, live = run_tiny(*options, "activations=off", name="live")
    run, stored = run_tiny(*options, "activations=require", name="stored")
    assert losses(stored) == pytest.approx(losses(live), abs=1e-4)
    (phase,) = stored["phases"]
    assert [row["stage"] for row in phase["audit"]] == ["embeddings", "layer.0", "layer.1", "head"]
    assert phase["trainable"] == ["layer.1", "head"][1 - train :]
    predictor = Predictor.load(run.path)
    assert stored["parameters"]["total"] == sum(p.numel() for p in predictor.network.parameters())
    rows = pyarrow.parquet.read_table(run.path / "predictions" / "test.parquet").to_pylist()
    found = predictor.probabilities([row["text"] for row in rows])
    assert found == pytest.approx(np.array([row["probabilities"] for row in rows]), abs=1e-4)


def test_to_keep_all_layers_frozen_is_to_freeze_all(run_tiny: Run, tmp_path: Path) -> None:
    _, cut = run_tiny("freeze=cut", "freeze.layers=3", *CUT[2:], name="cut")
    _, whole = run_tiny("freeze=all", *CUT[2:], name="all")
    assert losses(cut) == losses(whole)
    assert cut["metrics"] == whole["metrics"]
    assert len([*(tmp_path / "cache" / "activations").glob("*/")]) == 1  # they read one store


@pytest.mark.parametrize("moment", [(1, 3), (1, None)])
def test_an_interrupted_run_goes_on(moment: tuple[int, int | None], run_tiny: Run, tmp_path: Path) -> None:
    options = [*TRAINED, "data.batch_size=8", "callbacks.checkpoint.every_minutes=0"]
    _, whole = run_tiny(*options, name="whole")
    with power_cut(*moment):
        run_tiny(*options, name="cut")
    folder = RunFolder(tmp_path / "cut")
    resumed = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6)
    assert resumed["metrics"] == whole["metrics"]


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (("model.pooling=pooler", "freeze.layers=2"), True),
        (("model.pooling=pooler", f"freeze.layers={LAYERS}"), False),
        (("model.pooling=mean", "freeze.layers=2"), False),
    ],
)
def test_a_pooler_of_another_layer_is_warned_of(
    overrides: tuple[str, ...], warned: bool, run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run_tiny("freeze=cut", "model=bert_linear", *overrides, "trainer.max_epochs=1")
    said = f"the pooler reads the states of layer 2; it was trained on those of layer {LAYERS}"
    assert (said in caplog.text) == warned


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_an_export_has_the_layers_that_are_left(pooling: str, run_tiny: Run, tmp_path: Path) -> None:
    run, result = run_tiny(*TRAINED, f"model.pooling={pooling}")
    exported(run, tmp_path / "hf")
    settings = json.loads((tmp_path / "hf" / "config.json").read_text())
    expected = probabilities(run, list(SAMPLES))
    if pooling == "pooler":
        assert settings["num_hidden_layers"] == 2
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf")
        assert len(model.bert.encoder.layer) == 2
        found = read_classifier(tmp_path / "hf", result["labels"], SAMPLES)
    else:
        assert settings["encoder"]["num_hidden_layers"] == 2
        found = load(tmp_path / "hf").probabilities(SAMPLES)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "deberta-v2"])
def test_onnx_and_safetensors_give_the_predictions_of_the_run(
    architecture: str, run_tiny: Run, tmp_path: Path, backbone_folder: Callable[[str], Path]
) -> None:
    run, _ = run_tiny(*TRAINED, f"backbone.name={backbone_folder(architecture)}")
    expected = probabilities(run, list(SAMPLES))
    exported(run, tmp_path / "plain", "format=safetensors")
    found = load(tmp_path / "plain").probabilities(SAMPLES)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    exported(run, tmp_path / "onnx", "format=onnx")
    predictor = Predictor.load(run.path)
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    encoded = predictor.tokenizer(list(SAMPLES), padding=True, truncation=True, max_length=32, return_tensors="np")
    (logits,) = session.run(["logits"], {name: encoded[name] for name in ("input_ids", "attention_mask")})
    torch.testing.assert_close(torch.from_numpy(logits).softmax(1), expected, atol=1e-4, rtol=0)


def test_explanations_show_the_layers_that_are_left(run_tiny: Run) -> None:
    run, _ = run_tiny(*TRAINED)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", [f"run={run.path}", "methods=[attention]"])
        cfg.text = "The food was good."
        page = explain(cfg)
    (record,) = json.loads((page.parent / "explanation.json").read_text())["runs"]
    assert record["stages"] == {"embeddings": "frozen", "layer.0": "frozen", "layer.1": "trained", "head": "trained"}
    cfg.layers = [2]
    with pytest.raises(UserError, match=r"layers must be in 0\.\.1 for"):
        explain(cfg)


def test_groups_bear_the_depth_and_what_trains(run_tiny: Run, tmp_path: Path) -> None:
    for number, options in enumerate((CUT, TRAINED, ("freeze=all", *CUT[2:]))):
        run_tiny(*options, name=f"sweep/{number}")
    assert [found.name for found in group(read_runs(tmp_path / "sweep"))] == ["all", "cut:2", "cut:2+1"]


def test_a_plan_has_the_layers_that_are_left(tiny_bert: Path, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("plan", ["run=unset", *TRAINED, f"backbone.name={tiny_bert}", *SMALL])
    cfg.cache = str(tmp_path)
    shown = plan(cfg).text
    assert shown.startswith("cut:2+1: 1 phase")
    assert [line.split()[0] for line in shown.splitlines() if line.startswith(("emb", "layer", "head"))] == [
        *("embeddings", "layer.0", "layer.1", "head")
    ]


@pytest.mark.parametrize("option", ["trainer.gradient_checkpointing=true", "trainer.precision=bf16-mixed"])
def test_switches_of_the_trainer_go_with_a_cut(option: str, run_tiny: Run) -> None:
    _, result = run_tiny(*CUT, "freeze.train=2", option)
    assert [row["stage"] for row in result["phases"][0]["audit"] if row["trainable"]] == ["layer.0", "layer.1", "head"]


@pytest.mark.rare
def test_a_cut_model_is_pretrained_and_classified_from(run_tiny: Run, tmp_path: Path) -> None:
    mlm, _ = run_tiny("model=bert_mlm", "freeze=cut", "freeze.layers=2", "freeze.train=2")
    saved = transformers.AutoModel.from_pretrained(mlm.path / "model")
    assert len(saved.encoder.layer) == saved.config.num_hidden_layers == 2
    fill = Predictor.load(mlm.path).fill("The film was [MASK].", top=3)
    assert len(fill[0]) == 3
    exported(mlm, tmp_path / "out")
    assert transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out").config.num_hidden_layers == 2
    result = trained(tmp_path, "backbone=run", f"backbone.run={mlm.path}", CUT[2], "freeze=mix")
    assert [row["stage"] for row in result["phases"][0]["audit"]] == ["embeddings", "layer.0", "layer.1", "head"]
    head: Any = Predictor.load(tmp_path / "other").network.head
    assert head.layers == 3  # the embeddings' output and those of two layers


def trained(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    """A short run in the folder `other`, of another kind of backbone."""
    few = (*SMALL, "trainer.max_epochs=1", "callbacks.progress=null")
    return training.train(composed(*few, f"cache={tmp_path / 'cache'}", *overrides), RunFolder(tmp_path / "other"))


def test_a_random_backbone_is_cut_too(tmp_path: Path) -> None:
    options = ("backbone=scratch", "backbone/size=tiny", "freeze=cut", "freeze.layers=1", "freeze.train=1", CUT[2])
    result = trained(tmp_path, *options)
    assert [row["stage"] for row in result["phases"][0]["audit"]] == ["embeddings", "layer.0", "head"]
    assert Predictor.load(tmp_path / "other").network.encoder.config.num_hidden_layers == 1


@pytest.mark.parametrize("freeze", ["freeze.layers=4", "freeze.layers=2 freeze.train=3", "freeze.layers=0"])
def test_a_cut_that_does_not_fit_is_refused_before_weights_are_loaded(
    freeze: str, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_encoder", lambda *arguments: pytest.fail("loaded"))
    options = [f"run={tmp_path / 'run'}", f"backbone.name={tiny_bert}", *SMALL, "freeze=cut", *freeze.split()]
    assert freeze.rpartition(" ")[2].partition("=")[0] in refusal("train", options, capsys)
    assert not (tmp_path / "run").exists()


def test_shared_layers_are_refused_before_weights_are_loaded(
    backbone_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(loading, "load_encoder", lambda *arguments: pytest.fail("loaded"))
    backbone = f"backbone.name={backbone_folder('albert')}"
    said = refusal("train", [f"run={tmp_path / 'run'}", backbone, *SMALL, "freeze=cut", "freeze.layers=1"], capsys)
    assert "freeze=cut needs a backbone with a list of layers of its own" in said


def test_a_classification_must_fit_the_cut_pretraining_before_it(tmp_path: Path) -> None:
    options = ("experiment=mlm_then_classify", "backbone.layers=4", "freeze=bottom", "freeze.layers=3")
    cfg = composed(*options, "freeze@pretrain.freeze=cut", "pretrain.freeze.layers=2", "pretrain.freeze.train=2")
    with pytest.raises(UserError, match=r"freeze\.layers must lie in 0\.\.2 for this backbone"):
        checks.check_both(*pretrain_config.stage_configs(cfg, RunFolder(tmp_path / "run")))
