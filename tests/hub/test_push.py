"""Exports that are pushed to a hub on this machine: what arrives there, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from src.errors import UserError
from src.export import export
from src.exports.pushing import push
from src.files.hub import download_model
from src.runs.folder import RunFolder
from tests.conftest import composed_for, main, refusal
from tests.hub.repositories import READER, WRITER, Repository, files_of
from tests.hub.server import Hub

# huggingface_hub uploads in a way that its HTTP client will give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, to which a token that may write is at hand."""
    monkeypatch.setenv("HF_TOKEN", WRITER)
    return hub


def pushed(run: RunFolder, output: Path, **values: Any) -> list[str]:
    return export(composed_for("export", run=str(run.path), output=str(output), push="org/model", **values))


def told(run: RunFolder, output: Path, **values: Any) -> str:
    """The message about an export that is refused before anything is written."""
    with pytest.raises(UserError) as raised:
        export(composed_for("export", run=str(run.path), output=str(output), **{"push": "org/model", **values}))
    assert not output.exists()
    return str(raised.value)


@pytest.mark.parametrize("format", ["huggingface", "sentence-transformers"])  # the latter has folders in the folder
def test_the_folder_arrives_in_one_commit(finished: RunFolder, hub: Hub, tmp_path: Path, format: str) -> None:
    lines = pushed(finished, tmp_path / "out", format=format)
    repository = hub.repositories["model", "org/model"]
    assert repository.private
    assert repository.head == files_of(tmp_path / "out")
    assert lines[-1] == f"Pushed: {hub.url}/org/model, commit {repository.refs['main']}"
    assert sum("/commit/" in request for request in hub.requests) == 1
    assert files_of(download_model("org/model", None)).keys() < repository.head.keys()  # it can be used as a backbone


def test_a_second_push_goes_into_the_same_repository(finished: RunFolder, hub: Hub, tmp_path: Path) -> None:
    hub.repositories["model", "org/model"] = repository = Repository(private=True)
    repository.commit({"notes.txt": b"by hand"})
    pushed(finished, tmp_path / "out", format="safetensors")
    assert repository.head == {"notes.txt": b"by hand", **files_of(tmp_path / "out")}


def test_public_is_asked_for(finished: RunFolder, hub: Hub, tmp_path: Path) -> None:
    pushed(finished, tmp_path / "out", private=False)
    assert not hub.repositories["model", "org/model"].private
    assert told(finished, tmp_path / "again") == (
        "private=true needs a repository that is private or new; everyone can read org/model.\n"
        "Choose another name, or private=false."
    )
    assert "private=false requires push=ORG/NAME" in told(finished, tmp_path / "again", push=None, private=False)


@pytest.mark.parametrize("name", ["model", "org/team/model", "org/a b", "org/"])
def test_a_name_of_the_wrong_form(finished: RunFolder, hub: Hub, tmp_path: Path, name: str) -> None:
    said = told(finished, tmp_path / "out", push=name)
    assert said == f"push must be the name of a repository on the hub, org/name; got {name}.\nCorrect it."
    assert not hub.requests


def test_a_token_that_may_write_is_needed(
    finished: RunFolder, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"Make one at {hub.url}/settings/tokens and give it: HF_TOKEN=…, or hf auth login."
    monkeypatch.setenv("HF_TOKEN", READER)
    assert told(finished, tmp_path / "out") == (
        f"push=org/model needs a token with write access; yours may only read.\n{where}"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    refused = told(finished, tmp_path / "out")
    assert refused.startswith(f"push=org/model needs a hub that accepts your token; {hub.url} says: Invalid user token")
    assert "hf_mistyped" not in refused
    monkeypatch.delenv("HF_TOKEN")
    hub.requests.clear()
    said = told(finished, tmp_path / "out")
    assert said == f"push=org/model needs a token with write access to org/model; there is none.\n{where}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert told(finished, tmp_path / "out") == (
        "push=org/model needs the hub; HF_HUB_OFFLINE is set.\nUnset it, or leave out push."
    )
    assert not hub.requests


@pytest.mark.parametrize("part", ["/api/repos/create", "/preupload/", "/objects/batch", "/upload/", "/commit/"])
def test_a_push_that_fails_says_how_to_repeat_it(
    hub: Hub, tiny_bert: Path, tmp_path: Path, part: str, no_waiting: None
) -> None:
    hub.broken[part] = 403
    folder = shutil.copytree(tiny_bert, tmp_path / "my model")
    before = files_of(folder)
    with pytest.raises(UserError) as raised:
        push(folder, "org/model", private=True)
    assert str(raised.value) == (
        "The exported folder is complete, but could not be pushed to org/model: broken 403.\n"
        f"To push it later: hf upload org/model '{folder}' . --private"
    )
    assert files_of(folder) == before
    assert not hub.repositories.get(("model", "org/model"), Repository()).head


def test_an_export_that_cannot_be_pushed_stays(finished: RunFolder, hub: Hub, tmp_path: Path) -> None:
    hub.broken["/commit/"] = 500
    with pytest.raises(UserError, match=r"could not be pushed to org/model: broken 500\."):
        pushed(finished, tmp_path / "out")
    assert {"README.md", "config.json", "model.safetensors"} < {*files_of(tmp_path / "out")}


def test_somebody_elses_name(hub: Hub, tiny_bert: Path) -> None:
    with pytest.raises(UserError, match="pushed to other/model: You don't have the rights to create other/"):
        push(tiny_bert, "other/model", private=True)


def test_a_hub_that_is_down(finished: RunFolder, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert told(finished, tmp_path / "out").startswith(
        "push=org/model needs a hub that accepts your token; http://127.0.0.1:9 says: [Errno 111] Connection refused.\n"
    )


def test_the_command_prints_where_it_is(
    finished: RunFolder, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [f"run={finished.path}", f"output={tmp_path / 'out'}", "push=org/model"]
    main("export", arguments)
    printed = capsys.readouterr()
    commit = hub.repositories["model", "org/model"].refs["main"]
    assert printed.out.splitlines()[-1] == f"Pushed: {hub.url}/org/model, commit {commit}"
    assert WRITER not in printed.out + printed.err
    monkeypatch.delenv("HF_TOKEN")
    assert refusal("export", [*arguments[:1], f"output={tmp_path / 'new'}", "push=org/model"], capsys).startswith(
        "push=org/model needs a token with write access"
    )
