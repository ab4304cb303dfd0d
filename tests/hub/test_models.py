"""Backbones by name, from a hub on this machine: revisions, tokens, what it lacks, caches and broken connections."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from src.backbones.loading import load_encoder, load_tokenizer
from src.backbones.source import Source, find_source
from src.config.backbone import Pretrained
from src.errors import UserError
from tests.conftest import refusal
from tests.hub.repositories import MEMBER, READER, Files
from tests.hub.server import Hub


def found(name: str = "org/tiny", revision: str | None = None) -> Source:
    return find_source(Pretrained(name=name, revision=revision))


def told(name: str = "org/tiny", revision: str | None = None) -> str:
    """The message about a model that cannot be used."""

    def load() -> None:
        source = found(name, revision)
        load_encoder(source)
        load_tokenizer(source)

    with pytest.raises(UserError) as raised:
        load()
    return str(raised.value)


def with_layers(files: Files, dropout: float) -> Files:
    """The same model, told apart by its dropout rate."""
    settings = json.loads(files["config.json"]) | {"hidden_dropout_prob": dropout}
    return {**files, "config.json": json.dumps(settings).encode()}


def test_a_model_is_downloaded_once(hub: Hub, tiny: Files) -> None:
    commit = hub.add("model", "org/tiny", {**tiny, "README.md": b"about", "tf_model.h5": b"other weights"})
    source = found()
    assert source.folder
    assert source.folder.name == commit
    assert {file.name for file in source.folder.iterdir()} == {*tiny}
    assert load_encoder(source).config.hidden_size == 16
    assert load_tokenizer(source).tokenize("a text")
    hub.requests.clear()
    assert found() == source
    assert not hub.requests


def test_branch_tag_and_commit_are_revisions(hub: Hub, tiny: Files) -> None:
    first = hub.add("model", "org/tiny", with_layers(tiny, 0.1))
    repository = hub.repositories["model", "org/tiny"]
    repository.refs["v1"] = first
    second = repository.commit(with_layers(tiny, 0.2), "main")
    third = repository.commit(with_layers(tiny, 0.3), "trial/new")
    revisions = ("v1", first, None, second, "trial/new", third)
    rates = {revision: found(revision=revision).settings["hidden_dropout_prob"] for revision in revisions}
    assert rates == {"v1": 0.1, first: 0.1, None: 0.2, second: 0.2, "trial/new": 0.3, third: 0.3}


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_a_revision_that_is_missing(hub: Hub, tiny: Files, revision: str) -> None:
    hub.add("model", "org/tiny", tiny)
    assert told(revision=revision) == (
        f"backbone.revision must be a branch, tag or commit of the model org/tiny; there is no {revision}.\n"
        f"See them at {hub.url}/org/tiny, or leave it out for the branch main."
    )


def test_a_name_that_is_missing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told("org/none") == (
        "backbone.name must be on the hub; it has no model org/none that can be read without a token.\n"
        "Check the name. If it is private, give a token that may read it: HF_TOKEN=…, or hf auth login. "
        "Or give a local folder: backbone.name=DIR."
    )
    monkeypatch.setenv("HF_TOKEN", READER)
    assert "it has no model org/none that your token may read" in told("org/none")


@pytest.mark.parametrize("name", ["org/a b", "-tiny", "org/tiny--x"])
def test_a_name_of_the_wrong_form(hub: Hub, name: str) -> None:
    assert f"backbone.name must be a name on the hub, org/name; got {name}.\n" in told(name)
    assert not hub.requests


def test_a_private_model_needs_a_token(hub: Hub, tiny: Files, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("model", "org/tiny", tiny, private=True)
    assert "it has no model org/tiny that can be read without a token" in told()
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    refused = told()
    assert refused.startswith("The hub must accept your token; it does not: Invalid credentials")
    assert "hf_mistyped" not in refused
    monkeypatch.delenv("HF_TOKEN")
    home.mkdir(exist_ok=True)
    (home / "token").write_text(READER)  # as hf auth login leaves it
    assert found().layers == 3


def test_a_token_goes_to_the_hub_alone(hub: Hub, tiny: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    hub.add("model", "org/tiny", tiny, private=True)
    found()
    given = dict(zip(hub.requests, hub.tokens, strict=True))
    assert {bool(token) for request, token in given.items() if "/large/" in request} == {False}
    assert {token for request, token in given.items() if "/large/" not in request} == {READER}


def test_a_gated_model_needs_its_conditions_accepted(hub: Hub, tiny: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("model", "org/tiny", tiny, gated=True)
    for token, lacking in (("", "and no token is set"), (READER, "which the account of your token has not done")):
        monkeypatch.setenv("HF_TOKEN", token)
        assert told() == (
            "The hub must have granted you the model org/tiny: its owner asks for conditions to be accepted, "
            f"{lacking}.\n"
            f"Accept them at {hub.url}/org/tiny, and give a token of that account: HF_TOKEN=…, or hf auth login. "
            "Or give a local folder: backbone.name=DIR."
        )
    assert not any("/resolve/" in request for request in hub.requests)
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    assert found().layers == 3


@pytest.mark.parametrize(
    ("without", "lacking"),
    [
        ("model.safetensors", "weights (model.safetensors)"),
        ("tokenizer.json", "a tokenizer (tokenizer.json)"),
        ("config.json", "config.json"),
    ],
)
def test_a_repository_that_is_no_model(hub: Hub, tiny: Files, without: str, lacking: str) -> None:
    hub.add("model", "org/tiny", {path: content for path, content in tiny.items() if path != without})
    assert f"org/tiny on the hub lacks {lacking}. It has " in told()
    assert not any("/resolve/" in request for request in hub.requests)  # nothing is downloaded in vain


def test_an_empty_repository(hub: Hub) -> None:
    hub.add("model", "org/tiny", {})
    said = told()
    assert "lacks config.json, weights (model.safetensors), a tokenizer (tokenizer.json). It has no files.\n" in said


def test_offline_takes_the_cache(hub: Hub, tiny: Files, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.add("model", "org/tiny", tiny)
    found()
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert found().layers == found(revision=commit).layers == 3
    assert told(revision="v1") == (
        f"The model org/tiny is not in the local cache {home}, or not completely, and HF_HUB_OFFLINE is set.\n"
        "Unset it for the first use, copy the cache of a machine that has it, or give a local folder: "
        "backbone.name=DIR."
    )
    assert told("org/other").startswith("The model org/other is not in the local cache")
    assert not hub.requests


def test_a_hub_that_is_down(hub: Hub, tiny: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("model", "org/tiny", tiny)
    found()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert found().layers == 3  # from the cache
    assert told("org/other").startswith(
        "The model org/other is not in the local cache, and cannot be downloaded from the hub: [Errno 111] "
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "Your token must allow to read the model org/tiny; the hub says: broken 403.\n"),
        (429, "The hub answers only so many requests; it refuses more for now: broken 429.\nWait some minutes"),
        (500, "The hub must answer when asked for the model org/tiny; it says 500: broken 500.\nTry again later"),
    ],
)
def test_a_hub_that_refuses(hub: Hub, tiny: Files, status: int, said: str) -> None:
    hub.add("model", "org/tiny", tiny)
    hub.broken["/api/models/org/tiny"] = status
    assert told().startswith(said)


def test_a_connection_that_is_cut_once(hub: Hub, tiny: Files, no_waiting: None) -> None:
    hub.add("model", "org/tiny", tiny)
    hub.cut["model.safetensors"] = [len(tiny["model.safetensors"]) // 3]
    source = found()
    assert source.folder
    assert (source.folder / "model.safetensors").read_bytes() == tiny["model.safetensors"]
    assert sum("GET /large/" in request for request in hub.requests) == 2


def test_a_connection_that_is_always_cut(hub: Hub, tiny: Files, no_waiting: None) -> None:
    hub.add("model", "org/tiny", tiny)
    hub.cut["model.safetensors"] = [1000] + [0] * 9
    said = told()
    assert said.startswith("The model org/tiny is not in the local cache, and cannot be downloaded from the hub: peer ")
    hub.cut.clear()
    assert load_encoder(found()).config.hidden_size == 16  # it goes on


def test_a_cache_that_is_half_full(hub: Hub, tiny: Files, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("model", "org/tiny", tiny)
    folder = found().folder
    assert folder
    (folder / "model.safetensors").resolve().rename(folder.parents[1] / "blobs" / "0123.incomplete")
    assert load_encoder(found()).config.hidden_size == 16  # its link leads nowhere
    shutil.rmtree(folder.parents[1] / "trees")  # older versions of huggingface_hub do not keep which files there are
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "or not completely, and HF_HUB_OFFLINE is set" in told()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert load_encoder(found()).config.hidden_size == 16


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_cached_file_that_is_damaged(hub: Hub, tiny: Files, file: str) -> None:
    hub.add("model", "org/tiny", tiny)
    folder = found().folder
    assert folder
    blob = (folder / file).resolve()
    blob.write_bytes(blob.read_bytes()[:100])
    assert told().endswith(f"\nDelete {folder.parents[1]}: it is downloaded again then.")
    shutil.rmtree(folder.parents[1])
    assert load_encoder(found()).config.hidden_size == 16


def test_a_cache_that_cannot_be_written(hub: Hub, tiny: Files, home: Path) -> None:
    hub.add("model", "org/tiny", tiny)
    home.mkdir()
    (home / "hub").write_text("a file")
    assert told() == (
        f"The hub's cache must be writable; {home}: Not a directory.\n"
        "Make room there, or choose another folder: HF_HOME=DIR."
    )


def test_a_command_says_it_in_one_message(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal("train", ["backbone.name=org/none", f"run={tmp_path / 'run'}"], capsys)
    assert said.startswith("backbone.name must be on the hub; it has no model org/none")
    assert not (tmp_path / "run").exists()
