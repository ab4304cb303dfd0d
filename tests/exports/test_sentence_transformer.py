"""Folders for sentence-transformers: their layout, what the modules compute, and what no modules compute."""

from __future__ import annotations

import ast
import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from src.config.data import Data
from src.data.labels import LabelSpace
from src.data.texts import Text
from src.errors import UserError
from src.exports import formats
from src.exports.formats import SAMPLES
from src.exports.sentence_transformer import check_expressible
from src.models.heads import MixedHead, decide, probabilities
from src.predict import Predictor
from tests.conftest import ARCHITECTURES, PAIRS, refusal, review_texts
from tests.data.test_data import settings
from tests.exports.test_export import SPACES, Run, exported, front_matter, random_classifier, random_original, run_card

LINEAR = ("model=bert_linear", "freeze=all", "trainer.max_epochs=1")
PRICE = LabelSpace("regression", ("price", "size"), mean=(7.0, -1.0), std=(3.0, 0.5))
NAMES = ("README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
FILES = {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", *NAMES}


class StandIn:
    """Computes what SentenceTransformer does of a folder or of some of its modules."""

    def __init__(self, folder: str | Path = "", modules: Sequence[Any] = ()) -> None:
        self.modules = modules or [*self._loaded(Path(folder))]

    def _loaded(self, folder: Path) -> list[Any]:
        options = json.loads((folder / "sentence_bert_config.json").read_text())
        encoder = transformers.AutoModel.from_pretrained(str(folder), **options.get("model_args", {})).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        dense = load_file(folder / "2_Dense" / "model.safetensors")
        first = SimpleNamespace(auto_model=encoder, tokenizer=tokenizer, length=options["max_seq_length"])
        return [first, json.loads((folder / "1_Pooling" / "config.json").read_text()), dense]

    def __getitem__(self, index: int) -> Any:
        return self.modules[index]

    @property
    def max_seq_length(self) -> int:
        return int(self[0].length)

    @torch.inference_mode()
    def encode(self, texts: list[Text], convert_to_tensor: bool = False) -> torch.Tensor:
        limits: Any = {"padding": True, "truncation": True, "max_length": self[0].length, "return_tensors": "pt"}
        tokens = self[0].tokenizer(texts, **limits)
        states, mask = self[0].auto_model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
        mean = self[1]["pooling_mode_mean_tokens"]
        assert mean != self[1]["pooling_mode_cls_token"]
        pooled = (states * mask).sum(1) / mask.sum(1) if mean else states[:, 0]
        if len(self.modules) == 2:
            return pooled
        return pooled @ self[2]["linear.weight"].T + self[2]["linear.bias"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "given",
    [
        ("mean", SPACES[0], settings(max_length=32)),
        ("cls", SPACES[1], settings(max_length=32, truncation="tail")),
        ("mean", PRICE, settings(max_length=32, text=["a", "b"])),
    ],
    ids=["binary", "tail", "numbers of pairs"],
)
def test_the_modules_compute_what_the_run_does(
    architecture: str, given: tuple[str, LabelSpace, Data], backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    original = random_original(backbone_folder(architecture), architecture, *given)
    original.save_tokenizer(tmp_path)
    check_expressible(original.network, original.reading, tmp_path)
    assert formats.write_sentence_transformers(tmp_path, original) == ("sentence-transformers", [])
    assert original.logits.std(0).min() > 1e-3
    found = StandIn(tmp_path).encode(original.samples)
    torch.testing.assert_close(found, original.logits, atol=1e-5, rtol=1e-5)


def test_the_layout_is_that_of_the_library(run_tiny: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, result = run_tiny(*LINEAR)
    out = tmp_path / "out"
    said = exported(run.path, out, "format=sentence-transformers")[-1]
    assert all(name in said for name in FILES)
    modules = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}
    contents = {
        "modules.json": [
            {"idx": index, "name": f"{index}", "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (name, path) in enumerate(modules.items())
        ],
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "__version__": {
                "sentence_transformers": "5.1.0",
                "transformers": transformers.__version__,
                "pytorch": torch.__version__,
            },
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "sentence_bert_config.json": {
            "max_seq_length": 32,
            "do_lower_case": False,
            "model_args": {"add_pooling_layer": False},
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": 16,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": False,
            "include_prompt": True,
        },
        "2_Dense/config.json": {
            "in_features": 16,
            "out_features": 3,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    assert {name: json.loads((out / name).read_text()) for name in contents} == contents
    files = [file for file in out.rglob("*") if file.is_file()]
    assert {file.relative_to(out).as_posix() for file in files} == {*contents, *FILES}
    assert len({file.stat().st_mode for file in files}) == 1
    assert front_matter(out) == {"library_name": "sentence-transformers", "pipeline_tag": "text-classification"}
    written = json.loads((out / "config.json").read_text())
    assert written["id2label"] == {str(index): label for index, label in enumerate(result["labels"])}
    assert written["architectures"] == ["BertModel"]
    assert "MISSING" not in capfd.readouterr().err


def case(name: str, folder: Path) -> tuple[str, ...]:
    """Overrides of a run."""
    if name == "regression":
        with (folder / "lengths.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "length"), *((text, len(text)) for text in review_texts()[:60])])
    return {
        "multiclass": ("data.truncation=tail", "calibration=temperature"),
        "multilabel": ("data=reviews_aspects", "model.pooling=cls"),
        "binary": ("data=table", "data.path=src/data/examples/polarity.csv", "data.test_fraction=0.3", "threshold=0.9"),
        "regression": ("data=table", f"data.path={folder / 'lengths.csv'}", "data.task=regression"),
        "pairs": (f"data.text={PAIRS}", "freeze=lora"),
    }[name] + (("data.label=length",) if name == "regression" else ())


@pytest.mark.parametrize("name", ["multiclass", "multilabel", "binary", "regression", "pairs"])
@pytest.mark.parametrize("library", ["none", pytest.param("sentence_transformers", marks=pytest.mark.slow)])
def test_the_card_predicts_what_the_run_does(
    name: str,
    library: str,
    run_tiny: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if library == "none":
        monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=StandIn))
    else:
        pytest.importorskip(library)
    run, result = run_tiny(*LINEAR, *case(name, tmp_path))
    exported(run.path, tmp_path / "out", "format=sentence-transformers")
    capsys.readouterr()
    card = run_card(tmp_path / "out", monkeypatch, tmp_path)
    printed = capsys.readouterr().out
    model, labels, predictor = card["model"], result["labels"], Predictor.load(run.path)
    pairs = name == "pairs"
    texts: list[Any] = [*zip(SAMPLES, reversed(SAMPLES), strict=True)] if pairs else [*SAMPLES]
    found = probabilities(model.encode(texts, convert_to_tensor=True), result["objective"])
    torch.testing.assert_close(found, torch.from_numpy(predictor.probabilities(texts)), atol=1e-5, rtol=1e-5)
    assert card["embed"].encode(texts).shape == (len(texts), 16)
    assert model.max_seq_length == 32

    probs = torch.from_numpy(predictor.probabilities([("A text.", "Another.")] if pairs else ["A text."]))
    if name == "regression":
        assert ast.literal_eval(printed.splitlines()[0]) == [{"length": pytest.approx(float(probs[0, 0]), rel=1e-5)}]
        return
    torch.testing.assert_close(card["probabilities"], probs, atol=1e-5, rtol=0)
    (chosen,) = decide(probs, result["objective"], predictor.thresholds).tolist()
    several = name == "multilabel"
    said = [label for label, on in zip(labels, chosen, strict=True) if on] if several else [labels[chosen]]
    assert printed.startswith(str(said))


class OwnHead(torch.nn.Module):
    pass


@pytest.mark.parametrize(
    ("head", "data", "found", "other"),
    [
        (None, settings(windows=True, stride=3), "data.windows=true", "huggingface"),
        (None, settings(truncation="head_tail"), "data.truncation=head_tail", "huggingface"),
        ("pooler", settings(), "model.pooling=pooler", "huggingface"),
        ("mix", settings(), "a mix of all layers", "huggingface"),
        (OwnHead(), settings(), "the head OwnHead", "onnx"),
    ],
    ids=["windows", "both ends", "pooler", "mix", "own head"],
)
def test_what_cannot_be_expressed_is_refused(
    head: Any, data: Data, found: str, other: str, backbone_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    network = random_classifier(backbone_folder("bert"), "bert", "pooler" if head == "pooler" else "mean", SPACES[0])
    if head == "mix":
        network.head = MixedHead(network.head, 3)
    elif isinstance(head, torch.nn.Module):
        network.head = head
    with pytest.raises(UserError) as raised:
        check_expressible(network, data.reading, tmp_path)
    assert str(raised.value).endswith(f"{tmp_path} has {found}.\nChoose format={other}.")


def test_a_refused_export_says_everything_at_once(
    run_tiny: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = run_tiny("freeze=all", "trainer.max_epochs=1", "data.max_length=16", "data.truncation=head_tail")
    options = [f"run={run.path}", f"output={tmp_path / 'out'}", "format=sentence-transformers"]
    assert refusal("export", options, capsys) == (
        "format=sentence-transformers needs a linear head on the mean of the tokens or on the first token, and texts "
        f"of which the first or the last tokens are read; {run.path} has a BiLSTM head and data.truncation=head_tail.\n"
        "Choose format=huggingface.\n"
    )
    assert not (tmp_path / "out").exists()
