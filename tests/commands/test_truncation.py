"""Which tokens of a long text are kept, in every command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir

from src import explain as explaining
from src import plan as planning
from src.config.folder import CONF
from src.predict import Predictor, format_prediction
from src.runs.folder import RunFolder
from tests.conftest import composed_for, refusal, review_texts
from tests.exports.test_export import exported, run_card

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
LONG = " ".join(review_texts()[:6])  # far more tokens than are read
LINEAR = ("model=bert_linear", "freeze=all", "trainer.max_epochs=1")


def kept(tokenizer: transformers.PreTrainedTokenizerFast, text: str, truncation: str, length: int) -> list[int]:
    """The ids that the encoder reads."""
    own = tokenizer(text, add_special_tokens=False)["input_ids"]
    room, first = length - 2, {"head": length - 2, "tail": 0, "head_tail": length // 4}[truncation]
    if len(own) > room:
        own = own[:first] + own[len(own) - (room - first) :]
    return [tokenizer.cls_token_id, *own, tokenizer.sep_token_id]


def logits(predictor: Predictor, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        one = torch.tensor([ids])
        return predictor.network({"input_ids": one, "mask": torch.ones_like(one).bool()})[0]


@pytest.mark.parametrize("truncation", ["tail", "head_tail"])
def test_all_commands_read_what_the_training_read(
    truncation: str, run_tiny: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = run_tiny(*LINEAR, f"data.truncation={truncation}", "data.max_length=16")
    assert result["phases"][0]["activations"]["used"]
    words = {"tail": ", the last of them", "head_tail": ", the first 4 of them and the last"}[truncation]
    assert f"truncated at data.max_length=16 tokens{words}: " in caplog.text
    predictor = Predictor.load(run.path, device="cpu")
    ids = kept(predictor.tokenizer, LONG, truncation, 16)
    assert len(ids) == 16
    expected = logits(predictor, ids).softmax(0)
    torch.testing.assert_close(torch.from_numpy(predictor.probabilities([LONG]))[0], expected, atol=1e-6, rtol=0)
    assert (expected - logits(predictor, kept(predictor.tokenizer, LONG, "head", 16)).softmax(0)).abs().max() > 1e-4
    format_prediction(predictor, LONG, 5)
    assert f"to 16 tokens{words}, as in training" in caplog.text

    folder = explaining.explain(composed_for("explain", run=str(run.path), text=LONG, methods=["occlusion"])).parent
    (record,) = json.loads((folder / "explanation.json").read_text())["runs"]
    tokens = [token["token"] for token in record["tokens"]]
    assert tokens == predictor.tokenizer.convert_ids_to_tokens(ids)
    (warning,) = record["warnings"]
    read = [word["begin"] for word in record["words"]]
    if truncation == "tail":
        assert warning.endswith(f"the first {len(LONG[: read[0]].split())} words are ignored.")
    else:
        assert read[0] == 0
        assert warning.endswith(" words in its middle are ignored.")

    said = exported(run.path, tmp_path / "out")
    assert "load.py" in said[0]
    monkeypatch.syspath_prepend(str(tmp_path / "out"))
    monkeypatch.delitem(__import__("sys").modules, "load", raising=False)
    found = run_card(tmp_path / "out", monkeypatch, tmp_path)["classify"].probabilities([LONG, "Good."])
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)
    assert f"Texts are truncated to 16 tokens{words}." in (tmp_path / "out" / "README.md").read_text()

    exported(run.path, tmp_path / "onnx", "format=onnx")
    card = (tmp_path / "onnx" / "README.md").read_text()
    assert '"A text."' in card
    (tmp_path / "onnx" / "README.md").write_text(card.replace("A text.", LONG.replace('"', "")))
    values = run_card(tmp_path / "onnx", monkeypatch, tmp_path)["probabilities"]
    plain = predictor.probabilities([LONG.replace('"', "")])
    assert abs(values - plain).max() < 1e-4


@pytest.mark.rare
def test_a_pipeline_keeps_the_last_tokens_but_not_some_of_both_ends(run_tiny: Run, tmp_path: Path) -> None:
    pooler = ("model=bert_linear", "model.pooling=pooler", "freeze=none", "trainer.max_epochs=1", "data.max_length=16")
    run, _ = run_tiny(*pooler, "data.truncation=tail", name="tail")
    assert len(exported(run.path, tmp_path / "tail_out")) == 1  # a pipeline, without a note
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "tail_out"), truncation=True)
    (best,) = classify([LONG])
    ((label, score), *_) = Predictor.load(run.path)([LONG])[0]
    assert (best["label"], pytest.approx(best["score"], abs=1e-5)) == (label, score)
    run, _ = run_tiny(*pooler, "data.truncation=head_tail", name="both")
    assert "data.truncation=head_tail: load it with load.py" in exported(run.path, tmp_path / "both_out")[0]


@pytest.mark.parametrize("truncation", ["tail", "head_tail"])
def test_a_masked_language_model_learns_from_what_is_kept(truncation: str, run_tiny: Run, tmp_path: Path) -> None:
    options = ("model=bert_mlm", "trainer.max_epochs=1", "data.max_length=16")
    run, _ = run_tiny(*options, f"data.truncation={truncation}")
    notes = exported(run.path, tmp_path / "out")
    assert any("Pipelines keep the first tokens" in note for note in notes) == (truncation == "head_tail")
    assert len(Predictor.load(run.path).fill(f"{LONG} [MASK]", top=3)[0]) == 3


def test_a_plan_and_a_training_say_what_is_lost(
    run_tiny: Run, tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_tiny(*LINEAR, "data.max_length=16")
    (said,) = [message for message in caplog.messages if message.startswith("Texts are truncated")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        options = ["run=unset", "data.limit=60", "data.max_length=16", "trainer=cpu", f"backbone.name={tiny_bert}"]
        cfg = compose("plan", [*options, *LINEAR, f"cache={tmp_path / 'cache'}"])
    assert said in planning.plan(cfg).text.splitlines()
    predictor = Predictor.load(tmp_path / "run", device="cpu")
    texts = [row["text"] for row in predictions(tmp_path / "run")]
    lengths = [len(predictor.tokenizer(text)["input_ids"]) for text in texts]
    cut = [length - 16 for length in lengths if length > 16]
    assert f"{len(cut)} of {len(texts)} in test ({len(cut) / len(texts):.1%}) lose {sum(cut):,} tokens" in said


def predictions(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    found: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / "predictions" / "test.parquet").to_pylist()
    return found


def test_the_first_tokens_have_the_stores_of_earlier_versions(run_tiny: Run, tmp_path: Path) -> None:
    """Only what is kept decides; the key says nothing of how it was chosen."""
    run_tiny(*LINEAR, "data.max_length=16")
    (manifest,) = (tmp_path / "cache" / "activations").glob("*/manifest.json")
    assert {*json.loads(manifest.read_text())["key"]} == {
        *("prefix", "architecture", "attention", "tokenizer", "max_length", "depth", "what", "dtype", "backbone"),
        "tokens",
    }
    run_tiny(*LINEAR, "data.max_length=16", "data.truncation=tail", name="tail")
    assert len([*(tmp_path / "cache" / "activations").glob("*/manifest.json")]) == 2


def test_a_resumed_run_goes_on_with_the_tokens_that_it_began_with(
    run_tiny: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = run_tiny(*LINEAR, "data.max_length=16")
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("truncation: head", "truncation: tail"))
    run.write_status("interrupted")
    said = refusal("train", [f"run={run.path}", "resume=true"], capsys)
    assert "texts of train, as tokens" in said


def test_pairs_lose_their_last_tokens_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "label"), *[("good", "bad", "yes")] * 20])
    given = ["data=table", f"data.path={tmp_path / 'pairs.csv'}", "data.text=[a,b]", "data.truncation=tail"]
    said = refusal("train", [*given, f"run={tmp_path / 'run'}"], capsys)
    assert "truncation=tail needs single texts; data.text names two columns" in said
    assert not (tmp_path / "run").exists()
