"""Exported models give the predictions of their runs, wherever they are loaded."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet
import pytest
import torch
import transformers
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file

from src.backbones import loading
from src.backbones.source import read_source
from src.config.data import Data
from src.config.folder import CONF
from src.data.labels import LabelSpace
from src.data.texts import Text
from src.errors import UserError
from src.export import export
from src.exports import formats, native, onnx_model
from src.exports.card import write_card
from src.exports.formats import SAMPLES
from src.exports.loader import load
from src.freezing.whole_stages import Nothing
from src.models import heads
from src.models.build import stages_and_phases
from src.models.heads import LinearHead
from src.models.networks import Network
from src.predict import Predictor
from src.runs.folder import RunFolder
from src.train import train
from tests.conftest import PAIRS, composed
from tests.data.test_data import settings

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]

SPACES = (
    LabelSpace("binary", ("no", "yes")),
    LabelSpace("multiclass", ("a", "b", "c")),
    LabelSpace("multilabel", ("a", "b", "c")),
)
LINEAR = ("model=bert_linear", "freeze=all")
PAIR = ("A text.", "Another.")


def exported(run: Path | str, output: Path, *options: str) -> list[str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return export(compose("export", [f"run={run}", f"output={output}", *options]))


def probabilities(run: RunFolder, texts: list[Text]) -> torch.Tensor:
    """The predictions of the run itself, with unmerged adapters."""
    labels = run.read_result()["labels"]
    rows = [dict(scores) for scores in Predictor.load(run.path)(texts)]
    return torch.tensor([[row[label] for label in labels] for row in rows])


def front_matter(folder: Path) -> dict[str, str]:
    """What the hub reads of the model card."""
    found: dict[str, str] = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    return found


def card_code(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return code


def run_card(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "card.py").write_text(card_code(folder))
    monkeypatch.chdir(folder)
    return runpy.run_path(str(tmp_path / "card.py"))


def random_classifier(folder: Path, architecture: str, pooling: str, space: LabelSpace) -> Network:
    torch.manual_seed(1)
    encoder = loading.load_encoder(read_source(folder, architecture), pooler=pooling == "pooler")
    head = LinearHead(encoder.config.hidden_size, space.outputs, pooling, 0.1)
    network = Network(encoder, head, *stages_and_phases(encoder, head, Nothing()), space)
    for parameter in network.parameters():
        if parameter.ndim == 2:  # texts differ more than they do by the small weights that pretraining starts from
            torch.nn.init.normal_(parameter, std=0.5)
    return network.eval()


def random_original(folder: Path, architecture: str, pooling: str, space: LabelSpace, data: Data) -> formats.Original:
    network = random_classifier(folder, architecture, pooling, space)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    result = {"objective": space.objective, "labels": list(space.names)}
    predictor: Any = SimpleNamespace(network=network, tokenizer=tokenizer, result=result, data=data, thresholds=None)
    return formats.Original(RunFolder(folder), None, predictor)


@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [
        *((name, "pooler") for name in ("bert", "albert", "roberta", "xlm-roberta", "mpnet")),
        *((name, "cls") for name in ("distilbert", "electra", "deberta-v2")),
    ],
)
@pytest.mark.parametrize(
    ("space", "data"),
    [
        *((space, settings(max_length=32)) for space in SPACES),
        (SPACES[1], settings(max_length=32, text=["a", "b"])),
        (SPACES[1], settings(max_length=32, truncation="tail")),
    ],
    ids=[*(space.objective for space in SPACES), "pairs", "tail"],
)
def test_a_pipeline_computes_what_the_run_does(
    architecture: str,
    pooling: str,
    space: LabelSpace,
    data: Data,
    backbone_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    original = random_original(backbone_folder(architecture), architecture, pooling, space, data)
    original.save_tokenizer(tmp_path)
    assert native.write_classifier(tmp_path, original.network, None)
    found = native.read_classifier(tmp_path, space.names, original.samples)
    assert original.probabilities.std(0).min() > 5e-4
    torch.testing.assert_close(found, original.probabilities, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "mean"), ("bert", "cls"), ("modernbert", "mean")])
def test_what_transformers_has_no_class_for_is_left_alone(
    architecture: str, pooling: str, backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    network = random_classifier(backbone_folder(architecture), architecture, pooling, SPACES[0])
    assert not native.write_classifier(tmp_path, network, None)
    assert not list(tmp_path.iterdir())


def test_settings_that_no_class_computes_lead_to_a_loader(
    backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    (out := tmp_path / "out").mkdir()
    network = random_classifier(backbone_folder("deberta-v2"), "deberta-v2", "cls", SPACES[1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(backbone_folder("deberta-v2"))
    network.encoder.config.pooler_hidden_act = "tanh"
    result = {"objective": "multiclass", "labels": ["a", "b", "c"], "strategy": "none"}
    given: dict[str, Any] = {"result": result, "data": settings(max_length=32), "thresholds": None}
    predictor: Any = SimpleNamespace(network=network, tokenizer=tokenizer, **given)
    original = formats.Original(RunFolder(tmp_path), composed("model=bert_linear", "model.pooling=cls"), predictor)
    original.save_tokenizer(out)
    assert formats.write_huggingface(out, original)[0] == "loader"
    torch.testing.assert_close(load(out).probabilities(SAMPLES), original.probabilities, atol=1e-5, rtol=0)


def test_an_exported_run_is_a_pipeline_with_merged_adapters(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = run_tiny("model=bert_linear", "model.pooling=pooler", "freeze=lora", "optimizer.lr=0.01")
    out = tmp_path / "out"
    exported(run.path, out)
    assert {file.name for file in out.iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    assert not any("lora" in name for name in load_file(out / "model.safetensors"))
    settings = json.loads((out / "config.json").read_text())
    assert settings["id2label"] == {str(i): label for i, label in enumerate(result["labels"])}
    assert settings["problem_type"] == "single_label_classification"
    assert settings["architectures"] == ["BertForSequenceClassification"]
    assert str(tmp_path) not in "".join(file.read_text() for file in out.glob("*.json"))
    classify = run_card(out, monkeypatch, tmp_path)["classify"]
    assert classify.tokenizer.model_max_length == 32
    assert front_matter(out) == {"library_name": "transformers", "pipeline_tag": "text-classification"}
    found = [{scored["label"]: scored["score"] for scored in scores} for scores in classify(list(SAMPLES))]
    shown = torch.tensor([[row[label] for label in result["labels"]] for row in found])
    torch.testing.assert_close(shown, probabilities(run, list(SAMPLES)), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_loader_of_its_own_runs_without_this_project(run_tiny: Run, tmp_path: Path) -> None:
    run, result = run_tiny("data=reviews_aspects", "freeze=mix", "trainer.max_epochs=1")
    out = tmp_path / "out"
    (said, _) = exported(run.path, out)
    assert "load.py" in said
    rows = pyarrow.parquet.read_table(run.path / "predictions" / "test.parquet").to_pylist()
    script = f"""{card_code(out)}
import json, sys
texts = json.loads(sys.argv[1])
said = [[scored["label"] for scored in row] for row in classify(texts)]
try:
    classify("A text.")
except TypeError as error:
    assert "texts must be a list" in str(error)
else:
    raise AssertionError("a text was taken for a list of letters")
assert classify([]) == []
ours = [name for name in sys.modules if name.partition(".")[0] in ("src", "jaxtyping", "omegaconf")]
print(json.dumps([said, classify.probabilities(texts).tolist(), ours]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, json.dumps([row["text"] for row in rows])],
        capture_output=True,
        text=True,
        cwd=out,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    labels, probs, ours = json.loads(ended.stdout.splitlines()[-1])
    assert labels == [row["predicted"] for row in rows]
    assert np.array(probs) == pytest.approx(np.array([row["probabilities"] for row in rows]), abs=1e-5)
    assert not ours
    with pytest.raises(ValueError, match="Unrecognized model"):
        transformers.AutoModel.from_pretrained(out)
    assert all(
        f"| {label} | {limit:.4g} |" in (out / "README.md").read_text() for label, limit in result["thresholds"].items()
    )


@pytest.mark.parametrize("options", [("model.pooling=last", "freeze=all"), ("model=bert_linear", "freeze=lora")])
def test_safetensors_are_the_weights_alone(options: tuple[str, ...], run_tiny: Run, tmp_path: Path) -> None:
    run, _ = run_tiny(*options, "trainer.max_epochs=1")
    exported(run.path, tmp_path / "out", "format=safetensors")
    network = Predictor.load(run.path, device="cpu").network
    weights = load_file(tmp_path / "out" / "model.safetensors")
    plain = {name.replace(".base_layer", ""): tensor for name, tensor in network.state_dict().items()}
    assert set(weights) == {name for name in plain if ".lora_" not in name}
    changed = {name for name, tensor in weights.items() if not torch.equal(tensor, plain[name])}
    targets = {name.partition(".lora_")[0] for name in plain if ".lora_" in name}
    assert changed == {f"{name}.weight" for name in targets}
    found = load(tmp_path / "out").probabilities(SAMPLES)
    torch.testing.assert_close(found, probabilities(run, list(SAMPLES)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        ("model.pooling=last", "freeze=all"),
        ("data=reviews_aspects", *LINEAR),
        ("data=table", "data.path=src/data/examples/polarity.csv", "data.test_fraction=0.3", *LINEAR),
    ],
    ids=["multiclass", "multilabel", "binary"],
)
def test_onnx_gives_the_same_logits_for_every_shape(
    options: tuple[str, ...], run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = run_tiny(*options, "trainer.max_epochs=1")
    out = tmp_path / "out"
    said, _ = exported(run.path, out, "format=onnx", "int8=true")
    predictor = Predictor.load(run.path, device="cpu")
    session = onnxruntime.InferenceSession(out / "model.onnx")
    assert [(part.name, part.shape) for part in session.get_inputs()] == [
        ("input_ids", ["batch", "tokens"]),
        ("attention_mask", ["batch", "tokens"]),
    ]
    for texts, tokens in ((1, 2), (1, 31), (2, 7), (5, 32), (33, 3)):
        ids, mask = torch.randint(5, 400, (texts, tokens)), torch.ones(texts, tokens, dtype=torch.long)
        mask[1:, tokens // 2 + 1 :] = 0
        (logits,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        with torch.inference_mode():
            expected = predictor.network({"input_ids": ids, "mask": mask.bool()})
        torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=0)
    accuracy = int8_accuracy(out, run, result)
    assert f"accuracy {accuracy:.4f} on the {result['texts']['test']} test texts" in said
    assert f"{accuracy - result['metrics']['test']['accuracy']:+z.4f} compared with" in said
    assert said in (out / "README.md").read_text()
    values = run_card(out, monkeypatch, tmp_path)["probabilities"]
    torch.testing.assert_close(torch.from_numpy(values), probabilities(run, ["A text."]), atol=1e-4, rtol=0)


def test_what_quantising_recommends_is_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, heard = logging.getLogger("onnx.asked"), list[bool]()
    assert asked.isEnabledFor(logging.WARNING)  # which it remembers

    def quantized(*arguments: Any, **options: Any) -> None:
        heard.append(asked.isEnabledFor(logging.WARNING))

    monkeypatch.setattr("onnxruntime.quantization.quantize_dynamic", quantized)
    onnx_model.quantise(Path("model.onnx"), Path("model_int8.onnx"))
    assert heard == [False]
    assert asked.isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
@pytest.mark.rare
def test_onnx_of_pairs_takes_token_types_where_the_encoder_does(
    architecture: str,
    run_tiny: Run,
    backbone_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = (f"backbone.name={backbone_folder(architecture)}", f"data.text={PAIRS}", "trainer.max_epochs=1")
    run, result = run_tiny(*LINEAR, *options)
    out = tmp_path / "out"
    said, _ = exported(run.path, out, "format=onnx", "int8=true")
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if architecture == "bert" else [])]
    assert [part.name for part in onnxruntime.InferenceSession(out / "model.onnx").get_inputs()] == names
    assert f"on the {result['texts']['test']} test texts" in said
    values = run_card(out, monkeypatch, tmp_path)["probabilities"]
    torch.testing.assert_close(torch.from_numpy(values), probabilities(run, [PAIR]), atol=1e-4, rtol=0)
    assert "the longer text first" in (out / "README.md").read_text()


def test_a_run_on_pairs_becomes_a_pipeline_of_pairs(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = run_tiny("model=bert_linear", "model.pooling=pooler", "freeze=none", f"data.text={PAIRS}")
    exported(run.path, tmp_path / "out")
    classify = run_card(tmp_path / "out", monkeypatch, tmp_path)["classify"]
    (scores,) = classify([{"text": PAIR[0], "text_pair": PAIR[1]}])
    found = {scored["label"]: scored["score"] for scored in scores}
    assert found == pytest.approx(dict(Predictor.load(run.path)([PAIR])[0]), abs=1e-5)


def test_a_run_on_pairs_becomes_a_loader_of_pairs(run_tiny: Run, tmp_path: Path) -> None:
    run, _ = run_tiny("freeze=all", f"data.text={PAIRS}", "trainer.max_epochs=1")
    exported(run.path, tmp_path / "out")
    classify = runpy.run_path(str(tmp_path / "out" / "load.py"))["load"](tmp_path / "out")
    torch.testing.assert_close(classify.probabilities([PAIR]), probabilities(run, [PAIR]), atol=1e-5, rtol=0)
    assert str([PAIR]).replace("'", '"') in card_code(tmp_path / "out")
    with pytest.raises(TypeError, match="must be a pair"):
        classify(["A text."])


def int8_accuracy(out: Path, run: RunFolder, result: dict[str, Any]) -> float:
    rows = pyarrow.parquet.read_table(run.path / "predictions" / "test.parquet").to_pylist()
    session = onnxruntime.InferenceSession(out / "model_int8.onnx")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    right = []
    for row in rows:
        encoded = tokenizer([row["text"]], truncation=True, return_tensors="pt")
        inputs = {name: encoded[name].numpy() for name in ("input_ids", "attention_mask")}
        (logits,) = session.run(None, inputs)
        probs = heads.probabilities(torch.from_numpy(logits), result["objective"])[0]
        if thresholds := result.get("thresholds"):
            found = [label in row["true"] for label in result["labels"]]
            limits = torch.tensor([thresholds[label] for label in result["labels"]])
            right += ((probs >= limits) == torch.tensor(found)).tolist()
        else:
            right.append(result["labels"][int(probs.argmax())] == row["true"])
    return float(np.mean(right))


def test_the_card_states_what_the_result_states(run_tiny: Run, tmp_path: Path) -> None:
    run, result = run_tiny(*LINEAR)
    exported(run.path, tmp_path / "out", "format=safetensors")
    card = (tmp_path / "out" / "README.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", card, re.MULTILINE))
    total, trained = result["parameters"]["total"], result["parameters"]["trainable"]
    assert rows["trained parameters"] == f"{trained:,} of {total:,} ({100 * trained / total:.2g}%)"
    assert rows["frozen parameters"] == f"{total - trained:,}"
    assert rows["freezing strategy"] == result["strategy"]
    assert rows["labels"] == ", ".join(result["labels"])
    assert rows["texts"] == ", ".join(f"{count} {split}" for split, count in result["texts"].items())
    assert rows["best epoch"] == str(result["best"]["epoch"])
    assert (rows["backbone"], rows["data"], rows["seed"]) == ("bert", "reviews.csv", str(result["seed"]))
    for name, value in result["metrics"]["test"].items():
        assert rows[name] == f"{result['metrics']['validation'][name]:.4f} | {value:.4f}"
    assert (rows["optimizer"], rows["trainer.max_epochs"], rows["model.pooling"]) == ("AdamW", "2", "mean")


def test_the_card_names_no_folders(finished: RunFolder, tmp_path: Path) -> None:
    cfg = finished.saved_config()
    cfg.data.path = "customers/acme/churn.csv"
    cfg.backbone = {"run": "customers/acme/first", "attention": "sdpa", "lr": 5e-5}
    write_card(tmp_path, finished.read_result(), cfg, "weights", [], None)
    card = (tmp_path / "README.md").read_text()
    assert "| backbone | first |\n| data | churn.csv |" in card
    assert "acme" not in card


def test_a_smaller_model_is_judged_by_a_score_that_the_run_has(monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"objective": "regression", "metrics": {"test": {"pearson": None, "rmse": 1.0}}}
    monkeypatch.setattr(formats, "_scores", lambda *_: ({"pearson": float("nan"), "rmse": 1.5}, 3))
    original: Any = SimpleNamespace(result=result)
    assert formats._loss(Path("model_int8.onnx"), original) == (
        "rmse 1.5000 on the 3 test texts of the run, +0.5000 compared with 1.0000 in full precision"
    )


@pytest.mark.parametrize("format", ["huggingface", "onnx", "sentence-transformers"])
def test_a_head_of_ones_own_with_windows_has_no_format(
    format: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THAW_TRUST", "mine.Head")
    cfg = run.saved_config()
    OmegaConf.save(
        OmegaConf.merge(cfg, {"model": {"_target_": "mine.Head"}, "data": {"windows": True}}), run.path / "config.yaml"
    )
    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(UserError, match=r"No format has both windows .* mine\.Head\.\n.*src\.predict"):
        exported(run.path, tmp_path / "out", f"format={format}")


@pytest.mark.parametrize(
    ("format", "library"), [("huggingface", {}), *((name, {"library_name": name}) for name in ("onnx", "safetensors"))]
)
def test_the_card_names_no_library_that_cannot_load_the_folder(
    format: str, library: dict[str, str], finished: RunFolder, tmp_path: Path
) -> None:
    exported(finished.path, tmp_path / "out", f"format={format}")
    assert front_matter(tmp_path / "out") == {**library, "pipeline_tag": "text-classification"}
    with pytest.raises(ValueError, match="Unrecognized model"):
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")


def test_masked_words_are_filled_in_by_a_pipeline(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("data.limit=60", "data.max_length=32", "trainer.max_epochs=1", "callbacks.progress=null", "trainer=cpu")
    run = RunFolder(tmp_path / "run")
    train(composed("model=bert_mlm", f"backbone.name={tiny_bert}", f"cache={tmp_path / 'cache'}", *small), run)
    exported(run.path, tmp_path / "out")
    assert front_matter(tmp_path / "out") == {"library_name": "transformers", "pipeline_tag": "fill-mask"}
    fill = run_card(tmp_path / "out", monkeypatch, tmp_path)["fill"]
    (expected,) = Predictor.load(run.path).fill("The film was [MASK].", top=5)
    found = [(guess["token_str"], guess["score"]) for guess in fill("The film was [MASK].")]
    assert [token for token, _ in found] == [token for token, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-5)
    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("the model was loaded"))
    with pytest.raises(UserError, match="format=onnx supports classifiers only"):
        exported(run.path, tmp_path / "other", "format=onnx")


def test_an_export_that_differs_leaves_nothing(run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = run_tiny(*LINEAR, "trainer.max_epochs=1")
    (out := tmp_path / "deep" / "out").mkdir(parents=True)
    damaged = load(_saved(run, tmp_path / "good"))
    damaged.head.linear.bias.data[0] += 1
    with monkeypatch.context() as patch:
        patch.setattr("src.exports.loader.load", lambda folder: damaged)
        with pytest.raises(UserError, match="must agree with the run"):
            exported(run.path, out, "format=safetensors")
    assert list(out.parent.iterdir()) == [out]
    assert not list(out.iterdir())
    exported(run.path, out, "format=safetensors")
    with pytest.raises(UserError, match="already exists"):
        exported(run.path, out, "format=safetensors")
    (run.path / "predictions" / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"test texts in .*test\.parquet"):
        exported(run.path, tmp_path / "int8", "format=onnx", "int8=true")
    (run.path / "checkpoints" / "best.ckpt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="must be unchanged since the run ended"):
        exported(run.path, tmp_path / "int8")
    (run.path / "result.json").write_text("[]")
    with pytest.raises(UserError, match=r"result\.json must be the result of a finished run"):
        exported(run.path, tmp_path / "int8")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "cache", "good", "deep"}


def _saved(run: RunFolder, out: Path) -> Path:
    exported(run.path, out, "format=safetensors")
    return out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["format=tensorflow"], "format has an invalid value: 'tensorflow'"),
        (["opset=13", "format=onnx"], "opset has an invalid value: 13"),
        (["opset=new"], "opset has an invalid value: 'new'"),
        (["int8=true"], "int8=true requires format=onnx; got format=huggingface"),
        (["output=???"], "output has no value"),
        ([], r"must be the folder with the result of a finished run"),
    ],
)
def test_mistakes_are_named(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        exported(tmp_path / "none", tmp_path / "out", *options)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    with pytest.raises(UserError, match=r"not installed: onnxruntime\.\nInstall them: pip install"):
        exported(tmp_path, tmp_path / "out", "format=onnx")


@pytest.mark.slow
def test_a_command_ends_with_one_message(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "src.export", f"run={tmp_path}", f"output={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        cwd=CONF.parent,
        check=False,
    )
    assert ended.returncode == 2
    assert "the result of a finished run" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
