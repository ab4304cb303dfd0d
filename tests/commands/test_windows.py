"""Long documents in windows, in every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from hydra import compose, initialize_config_dir

from src import explain as explaining
from src import plan as planning
from src.config.folder import CONF
from src.errors import UserError
from src.grouping.groups import group
from src.grouping.runs import read_runs
from src.models.checks import read_training
from src.predict import Predictor, format_prediction
from src.runs.checkpoints import read_verified
from src.runs.folder import RunFolder
from src.runs.pretrain_config import stage_configs
from tests.caching.test_store import FROZEN, losses
from tests.commands.test_plan import numbers
from tests.conftest import ARCHITECTURES, composed, composed_for, power_cut, refusal, review_texts
from tests.explanation.test_explain import payload
from tests.exports.test_export import exported, run_card

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
WINDOWS = ("data.max_length=16", "data.windows=true", "data.stride=3", "data.batch_size=8")  # some six of a review
LINEAR = ("model=bert_linear", "freeze=all")
STRATEGIES = (
    *FROZEN,
    "freeze=mix model=bert_linear",
    "freeze=lora model=bert_linear",
    "freeze=gradual freeze.down_to=layer.2 model=bert_bilstm",
)
LONG = " ".join(review_texts()[:4])


@pytest.mark.parametrize(
    "strategy", [STRATEGIES[0], STRATEGIES[2], *(pytest.param(one, marks=pytest.mark.slow) for one in STRATEGIES[3:])]
)
def test_stored_windows_equal_live_ones(strategy: str, run_tiny: Run) -> None:
    options = [*strategy.split(), *WINDOWS, "optimizer.lr=1e-3"]
    _, live = run_tiny(*options, "activations=off", name="live")
    _, stored = run_tiny(*options, name="stored")
    assert stored["phases"][0]["activations"]["used"]
    assert losses(stored) == pytest.approx(losses(live), abs=1e-4)
    assert stored["metrics"]["test"]["accuracy"] == live["metrics"]["test"]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["max", "attention"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_reads_windows(
    architecture: str, pooling: str, run_tiny: Run, backbone_folder: Callable[[str], Path]
) -> None:
    layers = 0 if architecture == "albert" else 2
    options = [f"backbone.name={backbone_folder(architecture)}", "freeze=bottom", f"freeze.layers={layers}", *WINDOWS]
    options += ["model=bert_linear", f"model.windows={pooling}"]
    _, live = run_tiny(*options, "activations=off", name="live")
    _, stored = run_tiny(*options, name="stored")
    assert stored["phases"][0]["activations"]["used"] == (architecture != "albert")
    assert losses(stored) == pytest.approx(losses(live), abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("model=bert_linear", "freeze=none"), id="live", marks=pytest.mark.slow),
        pytest.param((*LINEAR, "model.windows=attention"), id="stored"),
        pytest.param(("freeze=bottom", "freeze.layers=2"), id="bilstm", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_bit_for_bit(options: tuple[str, ...], run_tiny: Run, tmp_path: Path) -> None:
    run_tiny(*options, *WINDOWS, name="whole")
    with power_cut(1, 3):
        run_tiny(*options, *WINDOWS, name="cut")
    run_tiny("resume=true", name="cut")
    one, other = (read_verified(RunFolder(tmp_path / name).best_checkpoint) for name in ("whole", "cut"))
    assert one["global_step"] == other["global_step"]
    assert all(torch.equal(tensor, other["state_dict"][name]) for name, tensor in one["state_dict"].items())


def test_another_stride_is_another_run(run_tiny: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = run_tiny(*LINEAR, *WINDOWS, "trainer.max_epochs=1")
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("stride: 3", "stride: 4"))
    run.write_status("interrupted")
    assert "texts of train, as tokens" in refusal("train", [f"run={run.path}", "resume=true"], capsys)


def by_hand(predictor: Predictor, text: str, pooling: str) -> torch.Tensor:
    """The probabilities of a document, from the tokenizer's own windows."""
    options: Any = {"truncation": True, "max_length": 16, "stride": 3, "return_overflowing_tokens": True}
    found = [torch.tensor([ids]) for ids in predictor.tokenizer(text, **options)["input_ids"]]
    with torch.inference_mode():
        rows = torch.cat([predictor.network({"input_ids": ids, "mask": ids > 0}) for ids in found])
    if pooling == "attention":
        return (rows[:, -1].softmax(0) @ rows[:, :-1]).softmax(0)
    return (rows.mean(0) if pooling == "mean" else rows.amax(0)).softmax(0)


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
@pytest.mark.parametrize("head", ["bert_linear", pytest.param("bert_bilstm", marks=pytest.mark.slow)])
def test_predictions_and_exports_are_those_of_the_training(
    head: str, pooling: str, run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = run_tiny(f"model={head}", "freeze=all", *WINDOWS, f"model.windows={pooling}", "optimizer.lr=0.01")
    predictor = Predictor.load(run.path, device="cpu")
    rows = pyarrow.parquet.read_table(run.path / "predictions" / "test.parquet").to_pylist()
    assert len(rows) == 60
    found = torch.from_numpy(predictor.probabilities([row["text"] for row in rows]))
    torch.testing.assert_close(found, torch.tensor([row["probabilities"] for row in rows]), atol=1e-5, rtol=0)
    expected = by_hand(predictor, LONG, pooling)
    torch.testing.assert_close(torch.from_numpy(predictor.probabilities([LONG]))[0], expected, atol=1e-6, rtol=0)

    (said, _) = exported(run.path, tmp_path / "out")
    assert "load.py" in said
    monkeypatch.syspath_prepend(str(tmp_path / "out"))
    monkeypatch.delitem(sys.modules, "load", raising=False)
    classify = run_card(tmp_path / "out", monkeypatch, tmp_path)["classify"]
    torch.testing.assert_close(classify.probabilities(["Good.", LONG])[1], expected, atol=1e-5, rtol=0)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- Texts are read in windows of 16 tokens, of which neighbours share 3." in card
    with pytest.raises(UserError, match="format=onnx computes the logits of single sequences"):
        exported(run.path, tmp_path / "onnx", "format=onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize(
    "pooling", ["attention", *(pytest.param(one, marks=pytest.mark.slow) for one in ("mean", "max"))]
)
def test_an_explanation_names_the_window_that_decides(pooling: str, run_tiny: Run) -> None:
    run, _ = run_tiny(*LINEAR, *WINDOWS, f"model.windows={pooling}", "optimizer.lr=0.05", "trainer.max_epochs=1")
    page = explaining.explain(composed_for("explain", run=str(run.path), text=LONG))
    (record,) = json.loads((page.parent / "explanation.json").read_text())["runs"]
    predictor = Predictor.load(run.path, device="cpu")
    probs = by_hand(predictor, LONG, pooling)
    names = predictor.space.names
    assert list(record["probabilities"].values()) == pytest.approx(probs.tolist(), abs=1e-5)
    options: Any = {"truncation": True, "max_length": 16, "stride": 3, "return_overflowing_tokens": True}
    windows = predictor.tokenizer(LONG, **options)["input_ids"]
    number = record["window"]["number"]
    assert record["window"] == {"number": number, "of": len(windows)}
    tokens = predictor.tokenizer.convert_ids_to_tokens(windows[number - 1])
    assert [token["token"] for token in record["tokens"]] == tokens
    (said,) = [warning for warning in record["warnings"] if "windows" in warning]
    words = LONG.split()
    begin, end = record["words"][0]["begin"], record["words"][-1]["end"]
    first, last = len(LONG[:begin].split()) + 1, len(LONG[:end].split())
    assert f"explains window {number}, words {first} to {last}, without which" in said
    assert " ".join(words[first - 1 : last]) in " ".join(LONG.split())
    # Occlusion is the change of the whole document's logit when a token of this window is masked.
    values = record["importance"]["occlusion"]["tokens"][names[int(probs.argmax())]]
    position = next(i for i, token in enumerate(record["tokens"]) if not token["special"])
    masked = [list(ids) for ids in windows]
    masked[number - 1][position] = predictor.tokenizer.mask_token_id
    before, after = (document(predictor, ids, pooling) for ids in (windows, masked))
    label = int(probs.argmax())
    assert values[position] == pytest.approx(float(before[label] - after[label]), abs=1e-5)


def document(predictor: Predictor, windows: list[list[int]], pooling: str) -> torch.Tensor:
    with torch.inference_mode():
        sequences = [torch.tensor([window]) for window in windows]
        rows = [predictor.network({"input_ids": ids, "mask": ids > 0}) for ids in sequences]
    found = torch.cat(rows)
    if pooling == "attention":
        return found[:, -1].softmax(0) @ found[:, :-1]
    return found.mean(0) if pooling == "mean" else found.amax(0)


@pytest.mark.slow
def test_a_plan_counts_windows_and_a_run_needs_its_flops(
    run_tiny: Run, tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, result = run_tiny(*WINDOWS, "model=bert_linear", "freeze=none", "trainer.max_epochs=1")
    (said,) = [said for said in caplog.messages if said.startswith("Texts become windows of at most 16 tokens")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        options = ["run=unset", "data.limit=60", "trainer=cpu", f"backbone.name={tiny_bert}", "trainer.max_epochs=1"]
        shared = [*options, f"cache={tmp_path / 'cache'}", "model=bert_linear", "freeze=none"]
        text = planning.plan(compose("plan", [*shared, *WINDOWS])).text
    assert said in text.splitlines()
    assert "60 of test " in said
    assert ", of which neighbours share 3: " in said
    planned = numbers(text, "forward")[0] + numbers(text, "backward")[0]
    assert result["phases"][0]["operations"] / 1e12 == pytest.approx(planned, rel=0.1)


def test_texts_beyond_the_cap_are_said(run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    run, _ = run_tiny(*WINDOWS, *LINEAR, "data.max_windows=2", "trainer.max_epochs=1")
    assert "Texts are truncated at data.max_windows=2 windows: " in caplog.text
    predictor = Predictor.load(run.path, device="cpu")
    format_prediction(predictor, LONG, 3)
    assert "to the first 2 windows of 16 tokens, as in training" in caplog.text
    page = explaining.explain(composed_for("explain", run=str(run.path), text=LONG, methods=["occlusion"]))
    (record,) = json.loads((page.parent / "explanation.json").read_text())["runs"]
    (read,) = [side["read"] for side in payload(page)["sides"]]
    offsets = predictor.tokenizer(LONG, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    end = offsets[14 + 11 - 1][1]  # both windows hold 14 tokens of the text, of which they share 3
    assert LONG[end:read].isalnum() or read == end  # the rest of its word
    cut = len(LONG[read:].split())
    assert f" The last {cut} words are beyond data.max_windows=2 and are ignored." in record["warnings"][-1]


def test_short_texts_share_the_store_of_runs_without_windows(run_tiny: Run, tmp_path: Path) -> None:
    (tmp_path / "short.csv").write_text("text,label\n" + "".join(f"good {i},{i % 2}\n" for i in range(40)))
    options = ("data=table", f"data.path={tmp_path / 'short.csv'}", "data.limit=null", *LINEAR, "trainer.max_epochs=1")
    _, plain = run_tiny(*options, name="plain")
    _, windowed = run_tiny(*options, "data.windows=true", name="windowed")
    assert len([*(tmp_path / "cache" / "activations").glob("*/manifest.json")]) == 1
    assert losses(windowed) == pytest.approx(losses(plain), abs=1e-6)


def test_runs_with_and_without_windows_are_compared(run_tiny: Run, tmp_path: Path) -> None:
    for name, options in {"a": WINDOWS, "b": ("data.max_length=16", "data.batch_size=8")}.items():
        run_tiny(*LINEAR, *options, "trainer.max_epochs=1", name=f"runs/{name}")
    assert len(group(read_runs(tmp_path / "runs"))) == 2


def test_a_pretraining_reads_single_sequences(tiny_bert: Path) -> None:
    """A classification in windows may follow one that is told not to use them."""
    both = ["experiment=mlm_then_classify", "data=reviews", "backbone/size=tiny", "data.windows=true"]
    wrong, right = (composed(*both, *more) for more in ([], ["+pretrain.data.windows=false"]))
    with pytest.raises(UserError, match=r"of a pretraining stage, \+pretrain\.data\.windows=false"):
        read_training(stage_configs(wrong, RunFolder(tiny_bert))[0])
    first, second = (read_training(cfg)[0].data for cfg in stage_configs(right, RunFolder(tiny_bert)))
    assert (first.windows, second.windows) == (False, True)


@pytest.mark.slow
def test_windows_go_together_with_gradient_checkpointing(run_tiny: Run) -> None:
    options = ("model=bert_linear", "freeze=none", *WINDOWS, "trainer.max_epochs=1")
    _, plain = run_tiny(*options, name="plain")
    _, again = run_tiny(*options, "trainer.gradient_checkpointing=true", name="again")
    assert losses(again) == pytest.approx(losses(plain), abs=1e-5)


MISTAKES = {
    "windows with pairs": (["data.text=[text,aspects]", "data.windows=true"], "windows=true needs single texts"),
    "windows with truncation": (["data.windows=true", "data.truncation=tail"], "windows=true reads whole texts"),
    "masked": (["model=bert_mlm", "data.windows=true"], "data.windows=true needs a classifier"),
    "stride alone": (["data.stride=4"], "data.windows is false"),
    "stride": (["data.windows=true", "data.stride=30"], "data.stride must be less than the tokens of a text"),
    "pooling alone": (["model.windows=max"], "model.windows=max says how windows of a text are combined"),
    "pooling": (["data.windows=true", "model.windows=median"], "model.windows has an invalid value: 'median'"),
    "cap": (["data.windows=true", "data.max_windows=0"], "data.max_windows has an invalid value: 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_mistakes_are_one_message(
    command: str, mistake: str, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, message = MISTAKES[mistake]
    given = [
        f"backbone.name={tiny_bert}",
        f"run={tmp_path / 'run'}",
        f"cache={tmp_path / 'cache'}",
        "data.max_length=32",
    ]
    said = refusal(command, [*given, *options], capsys)
    assert message in said
    assert not (tmp_path / "run").exists()
