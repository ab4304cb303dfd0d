"""A run that keeps only trained weights refuses a backbone other than its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.backbones import integrity
from src.backbones.loading import load_tokenizer
from src.backbones.source import read_source
from src.comparison.comparison import compare
from src.errors import UserError
from src.explain import explain
from src.export import export
from src.files import digests, hub
from src.files.atomic import sha256
from src.grouping.groups import group
from src.grouping.runs import read_runs
from src.predict import Predictor
from src.runs.folder import RunFolder
from src.train import train
from tests.conftest import composed, composed_for

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
Change = Callable[[Path], object]
LINEAR = ("model=bert_linear", "trainer.max_epochs=1")
FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def other_weights(folder: Path) -> None:
    """Weights of the same sizes, and with the same times as before."""
    file = folder / "model.safetensors"
    before = file.stat()
    torch.manual_seed(7)
    save_file({name: torch.randn_like(t) for name, t in load_file(file).items()}, file, metadata={"format": "pt"})
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


def other_tokens(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    words["the"], words["and"] = words["and"], words["the"]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def other_config(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    assert '"hidden_act": "gelu"' in text
    (folder / "config.json").write_text(text.replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))


CHANGES: dict[str, tuple[Change, str]] = {
    "weights": (other_weights, "model.safetensors has changed"),
    "tokenizer": (other_tokens, "tokenizer.json has changed"),
    "config": (other_config, "config.json has changed"),
}


@pytest.fixture
def backbone(tiny_bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "backbone"))


@pytest.fixture
def used(tmp_path: Path) -> dict[str, Callable[[RunFolder], object]]:
    """What puts a run to use."""
    words = {"text": "good", "methods": ["occlusion"], "name": "one"}
    return {
        "predict": lambda run: Predictor.load(run.path).probabilities(["the good and the bad"]),
        "explain": lambda run: explain(composed_for("explain", run=str(run.path), **words)),
        "export": lambda run: export(composed_for("export", run=str(run.path), output=str(tmp_path / "out"))),
    }


@pytest.mark.parametrize("change", CHANGES)
def test_a_backbone_that_has_changed_is_noticed(
    change: str, run_tiny: Run, backbone: Path, used: dict[str, Callable[[RunFolder], object]]
) -> None:
    folder, result = run_tiny(f"backbone.name={backbone}", *LINEAR)
    assert result["backbone"]["files"] == {n: sha256(backbone / n) for n in FILES}
    assert result["backbone"]["revision"] is None
    act, said = CHANGES[change]
    act(backbone)
    for use in used.values():
        with pytest.raises(UserError, match=rf"in {backbone} {said}\.\nRestore the original files") as told:
            use(folder)
        assert str(folder.path) in str(told.value)
    assert not (backbone.parent / "out").exists()


@pytest.mark.parametrize(
    ("freeze", "change", "matters"),
    [
        ("none", "weights", False),  # the checkpoint has them all
        ("none", "tokenizer", True),
        ("none", "config", True),
        ("embeddings", "weights", True),
        ("bitfit", "weights", True),
        ("lora", "weights", True),
        ("mix", "weights", True),
        ("lp_ft freeze.epochs=1", "weights", False),
    ],
)
def test_weights_count_where_some_are_not_in_the_checkpoint(
    freeze: str, change: str, matters: bool, run_tiny: Run, backbone: Path
) -> None:
    folder, _ = run_tiny(f"backbone.name={backbone}", *LINEAR, "trainer.max_epochs=2", *f"freeze={freeze}".split())
    before = Predictor.load(folder.path).probabilities(["the good and the bad"])
    CHANGES[change][0](backbone)
    if matters:
        with pytest.raises(UserError, match=CHANGES[change][1]):
            Predictor.load(folder.path)
    else:
        assert (Predictor.load(folder.path).probabilities(["the good and the bad"]) == before).all()


def same_tokens(folder: Path) -> None:
    """Files of other bytes: with the settings of a call, as after use, and without what has no effect."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "added_tokens.json").write_text("{}")


def test_files_that_cut_texts_in_the_same_way_may_differ(run_tiny: Run, backbone: Path) -> None:
    folder, _ = run_tiny(f"backbone.name={backbone}", *LINEAR)
    texts = ["the good and the bad, and all that there is to say of it"]
    before = Predictor.load(folder.path).probabilities(texts)
    same_tokens(backbone)
    assert (Predictor.load(folder.path).probabilities(texts) == before).all()


def test_a_library_that_cuts_texts_otherwise_is_told_of(
    run_tiny: Run, backbone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, result = run_tiny(f"backbone.name={backbone}", *LINEAR)
    Predictor.load(folder.path)
    assert "tokenized texts differently" not in caplog.text
    monkeypatch.setattr(integrity, "tokenizer_state", lambda tokenizer: "another")
    Predictor.load(folder.path)
    made = result["environment"]["transformers"]
    assert f"transformers {made} tokenized texts differently when {folder.path} was trained" in caplog.text


def test_results_of_older_versions_are_used_as_they_are(run_tiny: Run, backbone: Path) -> None:
    folder, result = run_tiny(f"backbone.name={backbone}", *LINEAR)
    del result["backbone"]
    folder.write_json("result.json", result)
    other_weights(backbone)
    assert Predictor.load(folder.path).probabilities(["good"]).shape == (1, 3)


@pytest.mark.parametrize("files", [{"../config.json": "0"}, {"a/b": "0"}, {"config.json": 1}, ["config.json"], "x"])
def test_names_of_files_elsewhere_are_refused(files: Any, run: RunFolder) -> None:
    content = json.loads((run.path / "result.json").read_text())
    run.write_json("result.json", content | {"backbone": {"files": files, "tokenizer": "x"}})
    with pytest.raises(UserError, match=r"it cannot be read: backbone\.files"):
        Predictor.load(run.path)


def trained(folder: Path, *overrides: str) -> RunFolder:
    small = ("data.limit=60", "data.max_length=32", "trainer=cpu", "trainer.max_epochs=1", "callbacks.progress=null")
    train(composed(*overrides, *small, f"cache={folder.parent / 'cache'}"), RunFolder(folder))
    return RunFolder(folder)


@pytest.mark.rare
def test_a_run_of_another_run_notices_that_it_was_trained_anew(backbone: Path, tmp_path: Path) -> None:
    words = ("model=bert_mlm", f"backbone.name={backbone}")
    first = trained(tmp_path / "words", *words)
    folder = trained(tmp_path / "labels", "backbone=run", f"backbone.run={first.path}", "model=bert_linear")
    Predictor.load(folder.path)
    shutil.rmtree(first.path)
    trained(tmp_path / "words", *words, "seed=8")
    with pytest.raises(UserError, match=r"words/model model\.safetensors has changed"):
        Predictor.load(folder.path)


@pytest.mark.parametrize("kind", ["words", "scratch"])
def test_the_tokenizer_that_a_run_leaves_must_be_as_it_left_it(kind: str, backbone: Path, tmp_path: Path) -> None:
    scratch = ("backbone=scratch", "backbone/size=tiny", "backbone.vocabulary=400", "freeze=none", "model=bert_linear")
    words = ("model=bert_mlm", f"backbone.name={backbone}")
    folder = trained(tmp_path / kind, *(words if kind == "words" else scratch))
    assert {"checkpoints/best.ckpt", "model/tokenizer.json"} <= folder.read_result()["sha256"].keys()
    Predictor.load(folder.path)
    other_tokens(folder.model)
    with pytest.raises(UserError, match=r"model/tokenizer\.json must be unchanged since the run ended"):
        Predictor.load(folder.path)


def test_a_resumed_run_notices_another_config_of_its_backbone(run_tiny: Run, backbone: Path) -> None:
    folder, _ = run_tiny(f"backbone.name={backbone}", *LINEAR)
    folder.write_status("interrupted")
    other_config(backbone)
    with pytest.raises(UserError, match=r"different are\n  config\.json of the backbone: \w+ then, \w+ now\n"):
        run_tiny(f"backbone.name={backbone}", *LINEAR, "resume=true")


def test_branches_of_the_hub_go_on_and_runs_do_not(
    run_tiny: Run, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = {"main": "a" * 40}

    def download(name: str, revision: str | None) -> Path:
        commit = commits.get(revision or "main", revision or "")
        folder = tmp_path / "hub" / "snapshots" / commit
        if not folder.exists():
            shutil.copytree(backbone, folder)
        return folder

    monkeypatch.setattr(hub, "download_model", download)
    folder, result = run_tiny("backbone.name=org/tiny", *LINEAR)
    assert result["backbone"]["revision"] == "a" * 40
    before = Predictor.load(folder.path).probabilities(["good"])
    (tmp_path / "hub" / "snapshots" / ("a" * 40) / "vocab.txt").touch()  # more of the same revision
    other_weights(backbone)
    commits["main"] = "b" * 40
    assert (Predictor.load(folder.path).probabilities(["good"]) == before).all()
    shutil.rmtree(tmp_path / "hub" / "snapshots" / ("a" * 40))  # what is downloaded again is not the same
    with pytest.raises(UserError, match=r"model\.safetensors has changed"):
        Predictor.load(folder.path)


def test_weights_in_parts_and_older_files_are_read_as_transformers_does(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "backbone"))
    (folder / "pytorch_model.bin").write_bytes(b"old")  # not read beside the other
    (folder / "README.md").write_text("about")
    assert set(_files(folder)) == FILES
    (folder / "model.safetensors").unlink()
    assert set(_files(folder)) == FILES - {"model.safetensors"} | {"pytorch_model.bin"}
    parts = {"model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    for name in parts:
        (folder / name).write_text(name)
    assert set(_files(folder)) == FILES - {"model.safetensors"} | parts


def _files(folder: Path) -> dict[str, str]:
    found = integrity.record(read_source(folder, "tiny"), load_tokenizer(read_source(folder, "tiny")))
    assert found
    return dict(found["files"])


def test_large_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "LARGE", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, read = tmp_path / "weights", []
    monkeypatch.setattr(digests, "sha256", lambda path: (read.append(path), sha256(path))[1])
    file.write_bytes(b"0" * 100)
    first = digests.cached_sha256(file)
    assert (first, digests.cached_sha256(file), len(read)) == (sha256(file), first, 1)
    before = file.stat()
    file.write_bytes(b"1" * 100)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy with its times would have
    assert digests.cached_sha256(file) == sha256(file) != first
    digests.cache_file().write_text("{damaged")
    assert digests.cached_sha256(file) == sha256(file)
    digests.cache_file().write_text('{"a": 1}')
    assert digests.cached_sha256(file) == sha256(file)
    assert len(read) == 4
    (tmp_path / "small").write_bytes(b"0")
    assert digests.cached_sha256(tmp_path / "small") == sha256(tmp_path / "small")
    assert str(tmp_path / "small") not in digests.cache_file().read_text()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file / "nowhere"))  # that cannot be written
    assert digests.cached_sha256(file) == sha256(file)


def test_a_comparison_says_that_the_backbone_changed_between_runs(
    run_tiny: Run, backbone: Path, tmp_path: Path
) -> None:
    run_tiny(f"backbone.name={backbone}", *LINEAR, "seed=1", name="sweep/1")
    run_tiny(f"backbone.name={backbone}", *LINEAR, "seed=2", name="sweep/2")
    assert "changed between these runs" not in _sentence(tmp_path / "sweep")
    other_weights(backbone)
    run_tiny(f"backbone.name={backbone}", *LINEAR, "seed=3", name="sweep/3")
    assert f" The files of {backbone} changed between these runs" in _sentence(tmp_path / "sweep")


def _sentence(root: Path) -> str:
    return compare(group(read_runs(root)), "accuracy", None, 0.01).sentence
