"""Run folders that cannot be trusted, and arguments that make no sense, as the commands after training meet them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.errors import UserError
from src.models.build import build_network
from src.models.checks import find_backbone, read_config
from src.predict import Predictor
from src.runs.folder import RunFolder
from src.train import train
from tests.conftest import composed, refusal

Ruin = Callable[[Path], Any]
BEST, MODEL, BIN = Path("checkpoints/best.ckpt"), Path("model/model.safetensors"), Path("model/pytorch_model.bin")


def trained(folder: Path, tiny_bert: Path, *overrides: str) -> RunFolder:
    limits = ("data.limit=60", "data.max_length=32", "trainer=cpu", "trainer.max_epochs=1", "callbacks.progress=null")
    run = RunFolder(folder)
    train(composed(f"backbone.name={tiny_bert}", *limits, f"cache={folder.parent / 'cache'}", *overrides), run)
    return run


@pytest.fixture(scope="module")
def finished(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that no test changes."""
    return trained(tmp_path_factory.mktemp("finished") / "run", tiny_bert, "model=bert_linear", "freeze=all")


@pytest.fixture(scope="module")
def masked(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of masked language modelling that no test changes."""
    return trained(tmp_path_factory.mktemp("masked") / "run", tiny_bert, "model=bert_mlm")


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def pickled(name: Path) -> Ruin:
    return lambda folder: torch.save({"state_dict": Canary(folder / "canary")}, folder / name)


def edited(name: str, old: str, new: str) -> Ruin:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


def written(name: str | Path, content: bytes) -> Ruin:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: Path) -> Ruin:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:500])


def flipped(name: Path) -> Ruin:
    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return flip


def result(**values: Any) -> Ruin:
    """Other values in result.json; `None` takes a key out."""

    def change(folder: Path) -> None:
        content = json.loads((folder / "result.json").read_text()) | values
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / "result.json").write_text(json.dumps(kept))

    return change


def weights(**values: Any) -> Ruin:
    """Other tensors in the best checkpoint; `__` in a name stands for a point, `None` takes a tensor out."""

    def change(folder: Path) -> None:
        content = torch.load(folder / BEST, weights_only=True)
        state = content["state_dict"] | {name.replace("__", "."): value for name, value in values.items()}
        content["state_dict"] = {name: value for name, value in state.items() if value is not None}
        torch.save(content, folder / BEST)

    return change


def tensors(change: Callable[[torch.Tensor], torch.Tensor | None]) -> Ruin:
    """Another embedding of words in what a run of masked language modelling leaves."""
    name = "embeddings.word_embeddings.weight"

    def edit(folder: Path) -> None:
        content = load_file(folder / MODEL)
        changed = change(content.pop(name))
        save_file(content | ({} if changed is None else {name: changed}), folder / MODEL, metadata={"format": "pt"})

    return edit


def signed(ruin: Ruin) -> Ruin:
    """As it would be in a folder whose result.json is of the same hand."""

    def both(folder: Path) -> None:
        ruin(folder)
        result(sha256=RunFolder(folder).digests())(folder)

    return both


NAN = torch.full((3, 16), torch.nan)
RUNS: dict[str, tuple[Ruin, str]] = {
    "no folder": (shutil.rmtree, "result of a finished run; there is no such folder"),
    "unfinished": (lambda f: (f / "result.json").unlink(), "result of a finished run; result.json is missing"),
    "newer format": (result(format=2), "has format 2; this version reads format 1"),
    "empty result": (written("result.json", b""), "result of a finished run"),
    "no result": (written("result.json", b"[1]"), "result of a finished run"),
    "deep result": (written("result.json", b"[" * 100_000), "result of a finished run; .*recursion"),
    "bytes for a result": (written("result.json", b"\xff"), "result of a finished run"),
    "half a result": (written("result.json", b'{"format": 1}'), "objective Field required; labels Field required"),
    "text for labels": (result(labels="abc"), "labels Input should be a valid list"),
    "numbers for labels": (result(labels=[1, 2, 3]), "labels.0 Input should be a valid string"),
    "the same label twice": (result(labels=["a", "b", "b"]), "labels do not fit"),
    "no thresholds": (result(objective="multilabel"), "thresholds must have one value per label"),
    "no scores": (result(metrics={}), "metrics must have validation and test"),
    "no digests": (result(sha256=[1]), "sha256 Input should be a valid dictionary"),
    "other labels": (result(labels=["a", "b", "c", "d"]), r"best\.ckpt must hold the weights .*head\.linear"),
    "other objective": (result(objective="binary", labels=["a", "b"]), r"must hold the weights .*head\.linear"),
    "no weights": (lambda f: (f / BEST).unlink(), r"best\.ckpt cannot be read: No such file"),
    "a folder for weights": (lambda f: ((f / BEST).unlink(), (f / BEST).mkdir()), "best.ckpt cannot be read: Is a dir"),
    "tampered": (written(BEST, b"x" * 99), "must be unchanged since the run ended"),
    "flipped": (flipped(BEST), "must be unchanged since the run ended"),
    "empty": (signed(written(BEST, b"")), "must be a checkpoint of this project"),
    "text": (signed(written(BEST, b"text")), "must be a checkpoint of this project"),
    "truncated": (signed(cut(BEST)), "must be a checkpoint of this project"),
    "a pickle": (signed(pickled(BEST)), "must be a checkpoint of this project, with tensors and plain values only"),
    "no dictionary": (signed(lambda f: torch.save([1], f / BEST)), "it has no weights"),
    "no names": (signed(lambda f: torch.save({"state_dict": [1]}, f / BEST)), "must hold the weights"),
    "no number": (signed(weights(head__linear__weight=NAN)), r"must be finite numbers; .*head\.linear\.weight\.\n"),
    "other shape": (signed(weights(head__linear__weight=torch.zeros(3))), "must hold the weights .*size mismatch"),
    "text for a tensor": (signed(weights(head__linear__weight="x")), "must hold the weights that config"),
    "a tensor less": (signed(weights(head__linear__weight=None)), "must hold the weights .*of another model"),
    "a tensor more": (signed(weights(other=NAN)), "must hold the weights .*of another model or strategy: other"),
    "target": (edited("config.yaml", "src.models.heads.LinearHead", "os.system"), "it names os.system"),
    "other head": (
        edited("config.yaml", "src.models.heads.LinearHead", "src.models.heads.BiLSTMHead"),
        "model.hidden_size has no",
    ),
    "other strategy": (edited("config.yaml", "src.freezing.Everything", "src.freezing.Nothing"), "of another model"),
    "other backbone": (edited("config.yaml", "/backbones", "/none"), "there is no folder"),
    "longer texts": (edited("config.yaml", "max_length: 32", "max_length: 999"), "must be at most 66"),
    "wrong value": (edited("config.yaml", "seed: 42", "seed: so"), "must have a whole number as its seed; got so"),
    "reference": (edited("config.yaml", "seed: 42", "seed: ${foo}"), "it has an invalid reference"),
    "missing config": (lambda f: (f / "config.yaml").unlink(), r"must be the folder of a run; it has no config\.yaml"),
    "damaged config": (written("config.yaml", b"a: [1\nb: {"), r"read: expected .* got ':' on line 2\.\nCopy the run"),
    "no config": (written("config.yaml", b"text"), "it has no section"),
    "list for a config": (written("config.yaml", b"[1]"), "it is not a mapping"),
    "bytes for a config": (written("config.yaml", b"\xff\0"), "must be the config of a run"),
    "same key twice": (written("config.yaml", b"a: 1\na: 2"), "found duplicate key a"),
    "object in the config": (written("config.yaml", b'a: !!python/object/apply:open ["canary", "w"]'), "constructor"),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_folder_that_cannot_be_trusted_is_refused(
    case: str, finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (ruin, message) = RunFolder(tmp_path / "run"), RUNS[case]
    shutil.copytree(finished.path, folder.path)
    ruin(folder.path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        Predictor.load(folder.path)
    assert not list(tmp_path.rglob("canary"))


BACKBONES: dict[str, tuple[Ruin, str]] = {
    "newer format": (result(format=2), "has format 2"),
    "half a result": (written("result.json", b'{"format": 1}'), "objective Field required"),
    "flipped": (flipped(MODEL), "must be unchanged since the run ended"),
    "tampered settings": (written("model/config.json", b"{}"), r"config\.json must be unchanged since the run ended"),
    "tampered tokenizer": (
        written("model/tokenizer.json", b"{}"),
        r"tokenizer\.json must be unchanged since the run",
    ),
    "no model": (lambda f: shutil.rmtree(f / "model"), "must be unchanged since the run ended; it is missing"),
    "empty": (signed(written(MODEL, b"")), "(cannot be loaded|must be a readable weight file)"),
    "text": (signed(written(MODEL, b"text" * 99)), "(cannot be loaded|must be a readable weight file)"),
    "truncated": (signed(cut(MODEL)), "(cannot be loaded|must be a readable weight file)"),
    "a pickle": (signed(lambda f: (pickled(BIN)(f), (f / MODEL).unlink())), "cannot be loaded"),
    "no number": (signed(tensors(lambda t: t * torch.nan)), "must be finite numbers; .*word_embeddings"),
    "other shape": (signed(tensors(lambda t: t[:9])), "must hold every tensor .*word_embeddings"),
    "a tensor less": (signed(tensors(lambda t: None)), "must hold every tensor .*word_embeddings"),
    "no settings": (signed(written("model/config.json", b"")), r"readable config\.json"),
    "no architecture": (signed(written("model/config.json", b"{}")), "must name a model_type"),
    "unknown architecture": (
        signed(written("model/config.json", b'{"model_type": "x"}')),
        "must be an encoder|list of layers",
    ),
    "wrong settings": (
        signed(edited("model/config.json", '_layers": 3', '_layers": "x"')),
        "a whole number for num_hidden_l",
    ),
    "other settings": (signed(edited("model/config.json", '_layers": 3', '_layers": 9')), "lack encoder.layer.3"),
    "no tokenizer": (signed(written("model/tokenizer.json", b"x")), "must hold a tokenizer; none can be read"),
}


@pytest.mark.parametrize("case", BACKBONES)
def test_a_backbone_that_cannot_be_trusted_is_refused(case: str, masked: RunFolder, tmp_path: Path) -> None:
    folder, (ruin, message) = tmp_path / "run", BACKBONES[case]
    shutil.copytree(masked.path, folder)
    ruin(folder)
    cfg = composed("backbone=run", f"backbone.run={folder}", "model=bert_linear", "data.max_length=32")
    with pytest.raises(UserError, match=message):
        build_network(cfg, *read_config(cfg), find_backbone(read_config(cfg)[0].backbone), 3, ())
    with pytest.raises(UserError, match=message):
        Predictor.load(folder)
    assert not list(tmp_path.rglob("canary"))


# A command, what its message holds, and its arguments: RUN, MASKED are finished runs, ROWS a file, HERE a folder.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "no run": ("predict", r"run has no value; .*\nGive one: run=FOLDER\. outputs/runs has no finished run", "text=a"),
    "no run of a sweep": ("explain", r"Give one: run=latest, which is .*/run, or run=FOLDER\.", "sweep=RUN", "text=a"),
    "run not exported": ("export", "run has no value", "output=HERE/out"),
    "empty run": ("predict", "run has an invalid value: ''", "run=", "text=a"),
    "misspelt run": ("predict", r"it does not exist\.\nThe runs are in outputs/runs\.$", "run=x", "text=a"),
    "run above": ("predict", "must be the folder of a run", "run=../..", "text=a"),
    "run is a file": ("predict", "Not a directory", "run=RUN/config.yaml", "text=a"),
    "long run": ("predict", "File name too long", f"run={'a' * 300}", "text=a"),
    "run of nobody": ("predict", "~ must begin with the name of a user", "run=~nobody_at_all", "text=a"),
    "best of none": ("predict", "needs a sweep to choose from", "run=best", "text=a"),
    "latest of none": ("predict", "needs a finished run", "run=latest", "sweep=HERE/none", "text=a"),
    "input is a folder": ("predict", "must be a file; it is a folder", "run=RUN", "input=HERE"),
    "long input": ("predict", "File name too long", "run=RUN", f"input={'a' * 300}.csv"),
    "input of nobody": ("predict", "~ must begin with", "run=RUN", "input=~nobody_at_all/a.csv"),
    "output below a file": ("predict", "cannot be written", "run=RUN", "input=ROWS", "output=ROWS/a.csv"),
    "number of guesses": (
        "predict",
        "top has an invalid value: 'few'",
        "run=MASKED",
        "text=[MASK]",
        "top=few",
    ),
    "several jobs": ("predict", "Only python -m src.train takes -m", "-m", "run=RUN", "text=a"),
    "unknown key": ("predict", "tpo is not a key of this config.\nDid you mean top", "run=RUN", "text=a", "tpo=3"),
    "reference": ("predict", "top refers to a key that does not exist", "run=RUN", "text=a", "top=${foo}"),
    "number of texts": ("explain", "limit has an invalid value: 'abc'", "run=RUN", "text=a", "limit=abc"),
    "name": ("explain", "name must be a folder name", "run=RUN", "text=a", "name=.."),
    "list in methods": ("explain", r"methods\.0 has an invalid value: \['a'\]", "run=RUN", "text=a", "methods=[[a]]"),
    "layer": ("explain", "layers must be in", "run=RUN", "text=a", "layers=[99]"),
    "list for a layer": ("explain", "layers must be all, or numbers", "run=RUN", "text=a", "layers=[[1]]"),
    "masked words": ("explain", "Only classifiers can be explained", "run=MASKED", "text=a"),
    "no output": ("export", "output has no value", "run=RUN"),
    "empty output": ("export", "output has an invalid value: ''", "run=RUN", "output="),
    "output is a file": ("export", "output must be a new or an empty folder", "run=RUN", "output=ROWS"),
    "long output": ("export", "cannot be written|File name too long", "run=RUN", f"output={'a' * 300}"),
    "wrong kinds": ("export", "int8 has .*\n.*\nopset has", "run=RUN", "output=HERE/out", "int8=so", "opset=so"),
    "no runs": ("compare", "runs has no value"),
    "empty runs": ("compare", "runs has an invalid value: ''", "runs="),
    "runs is a file": ("compare", "runs must be a folder that contains runs", "runs=ROWS"),
    "margin": ("compare", "margin has an invalid value: nan", "runs=RUN", "margin=nan"),
    "number for a column": ("compare", "by has an invalid value: 3", "runs=RUN", "by=3"),
    "mixed": ("compare", "mixed has an invalid value: 'so'", "runs=RUN", "mixed=so"),
    "metric": ("compare", "metric must be a test score", "runs=RUN", "metric=zzz"),
    "plan": ("plan", "plan must be a section", "plan=3"),
    "trial": ("plan", "trial has an invalid value: 'so'", "plan.trial=so"),
    "plan of nothing": ("plan", "data.path must be a file or folder", "data=table", "data.path=HERE/none"),
    "planned layer": ("plan", "freeze.layers must lie in 0..6", "freeze=bottom", "freeze.layers=99"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_without_sense_are_refused(
    case: str,
    finished: RunFolder,
    masked: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, message, *arguments = ARGUMENTS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\ngood,1\n")
    places = {"RUN": finished.path, "MASKED": masked.path, "HERE": tmp_path, "ROWS": tmp_path / "rows.csv"}
    given = [re.sub("RUN|MASKED|HERE|ROWS", lambda found: str(places[found[0]]), a) for a in arguments]
    before = sorted(path for folder in (tmp_path, finished.path, masked.path) for path in folder.rglob("*"))
    said = refusal(command, given, capsys)
    assert re.search(message, said), said
    assert sorted(path for folder in (tmp_path, finished.path, masked.path) for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("ruin", "message"),
    [
        (written("predictions/test.parquet", b"PAR1"), r"test\.parquet must hold the columns"),
        (written("config.yaml", b"seed: 1"), r"config\.yaml must be the config of a run; it has no section backbone"),
        (edited("config.yaml", "seed: 42", "seed: so"), r"config\.yaml must have a whole number as its seed; got so"),
        (written("config.yaml", b"\xff"), "must be the config of a run; it cannot be read"),
    ],
    ids=["predictions", "half a config", "no seed", "bytes"],
)
def test_runs_that_cannot_be_read_are_not_compared(
    ruin: Ruin, message: str, finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, strategy in (("one", "Everything"), ("other", "Nothing")):
        shutil.copytree(finished.path, tmp_path / name)
        edited("config.yaml", "src.freezing.Everything", f"src.freezing.{strategy}")(tmp_path / name)
    ruin(tmp_path / "other")
    assert re.search(message, refusal("compare", [f"runs={tmp_path}", "mixed=true"], capsys))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]
