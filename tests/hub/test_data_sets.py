"""Data sets by name, from a hub on this machine: formats, revisions, tokens, what it lacks, and caches."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from src.config.data import Data
from src.errors import UserError
from src.tables.sources import read_splits
from tests.conftest import composed, refusal
from tests.hub.conftest import parquet, table
from tests.hub.repositories import MEMBER, READER
from tests.hub.server import Hub

TRAIN, TEST = table(0, 90), table(90, 120)
SPLITS = {"train": 90, "test": 30}


def settings(**values: object) -> Data:
    section = composed("data=hub", "data.name=org/set").data
    return Data.model_validate({**section, **values})


def rows(**values: object) -> dict[str, int]:
    """The number of rows of each split of org/set."""
    return {name: len(read.rows) for name, read in read_splits(settings(**values)).items()}


def told(**values: object) -> str:
    """The message about a data set that cannot be used."""
    with pytest.raises(UserError) as raised:
        read_splits(settings(**values))
    return str(raised.value)


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(
    "files",
    [
        {"train.csv": TRAIN, "test.csv": TEST},
        {"data/train-00000-of-00001.parquet": parquet(TRAIN), "data/test-00000-of-00001.parquet": parquet(TEST)},
    ],
    ids=["csv", "parquet"],
)
def test_files_of_a_repository_are_splits(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add("dataset", "org/set", {**files, "README.md": b"---\nlicense: mit\n---\n"})
    read = read_splits(settings())
    assert {name: len(split.rows) for name, split in read.items()} == SPLITS
    assert read["train"].columns["label"][:2] == [line.rsplit(",")[-1] for line in TRAIN.decode().splitlines()[1:3]]


def test_configurations_are_named(hub: Hub) -> None:
    card = "---\nconfigs:\n- config_name: a\n  data_files: a.csv\n- config_name: b\n  data_files: b.csv\n---\n"
    hub.add("dataset", "org/set", {"a.csv": TRAIN, "b.csv": TEST, "README.md": card.encode()})
    assert rows(config_name="b") == {"train": 30}
    for name in (None, "c"):
        assert told(config_name=name) == (
            f"data.config_name must be a configuration of org/set; got {name}.\nThere are: a, b."
        )


def test_branch_tag_and_commit_are_revisions(hub: Hub) -> None:
    first = hub.add("dataset", "org/set", {"train.csv": TRAIN})
    repository = hub.repositories["dataset", "org/set"]
    repository.refs["v1"] = first
    repository.commit({"train.csv": TEST})
    found = {revision: rows(revision=revision)["train"] for revision in (None, "v1", first)}
    assert found == {None: 30, "v1": 90, first: 90}
    assert told(revision="v9").startswith(
        "data.revision must be a branch, tag or commit of the data set org/set; there is no v9.\n"
    )


def test_a_revision_is_not_taken_for_another_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hub.add("dataset", "org/set", {"train.csv": TRAIN})
    second = hub.repositories["dataset", "org/set"].commit({"train.csv": TEST})
    assert rows(revision=first) == {"train": 90}
    offline(monkeypatch)
    assert rows() == rows(revision=first) == {"train": 90}
    for revision in (second, "v1"):
        assert told(revision=revision).endswith(f"\nThe cache has its commit {first}: data.revision={first}.")


def test_a_name_that_is_missing(hub: Hub) -> None:
    assert told() == (
        "data.name must be on the hub; it has no data set org/set that can be read without a token.\n"
        "Check the name. If it is private, give a token that may read it: HF_TOKEN=…, or hf auth login. "
        "Or give local files: data.path=DIR."
    )


def test_a_private_data_set_needs_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("dataset", "org/set", {"train.csv": TRAIN}, private=True)
    assert "it has no data set org/set that can be read without a token" in told()
    monkeypatch.setenv("HF_TOKEN", "hf_mistyped")
    assert told().startswith("The hub must accept your token; it does not: ")
    monkeypatch.setenv("HF_TOKEN", READER)
    assert rows() == {"train": 90}


def test_a_gated_data_set_needs_its_conditions_accepted(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("dataset", "org/set", {"train.csv": TRAIN}, gated=True)
    assert f"Accept them at {hub.url}/datasets/org/set, and give a token of that account" in told()
    monkeypatch.setenv("HF_TOKEN", MEMBER)
    assert rows() == {"train": 90}


def test_a_repository_without_tables(hub: Hub) -> None:
    hub.add("dataset", "org/set", {"README.md": b"about", "code.py": b"pass"})
    assert told().startswith("data.name must be a data set that can be read; org/set cannot: ")


def test_files_that_are_damaged(hub: Hub, home: Path) -> None:
    hub.add("dataset", "org/set", {"train.parquet": parquet(TRAIN)[:500]})
    said = told()
    assert said.startswith("data.name must be a data set that can be read; org/set cannot: ")
    cache = home / "hub" / "datasets--org--set"
    assert f"\nIf its files are right on the hub, delete {cache}: they are downloaded again then. " in said
    shutil.rmtree(cache)
    hub.add("dataset", "org/set", {"train.parquet": parquet(TRAIN)})
    assert rows() == {"train": 90}


def test_offline_takes_the_cache(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("dataset", "org/set", {"train.csv": TRAIN})
    rows()
    hub.requests.clear()
    offline(monkeypatch)
    assert rows() == {"train": 90}
    assert told(name="org/other") == (
        f"The data set org/other is not in the local cache {home}, or not completely, and HF_HUB_OFFLINE is set.\n"
        "Unset it for the first use, copy the cache of a machine that has it, or give local files: data.path=DIR."
    )
    assert not hub.requests


def test_a_hub_that_is_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("dataset", "org/set", {"train.csv": TRAIN})
    rows()
    hub.broken["/api/"] = 503
    assert rows() == {"train": 90}
    said = told(name="org/other")
    assert said.startswith("The hub must answer when asked for the data set org/other; it says 503: broken 503.\n")
    assert not constants.HF_HUB_OFFLINE  # what comes next in this process asks the hub again
    hub.broken.clear()
    hub.add("dataset", "org/other", {"train.csv": TEST})
    assert rows(name="org/other") == {"train": 30}


def test_a_download_that_breaks_off(hub: Hub, no_waiting: None) -> None:
    hub.add("dataset", "org/set", {"train.csv": TRAIN})
    hub.broken["/resolve/"] = 403
    assert told().startswith("Your token must allow to read the data set org/set; the hub says: broken 403.\n")
    hub.broken.clear()
    hub.cut["train.csv"] = [1000] + [0] * 30
    assert told().startswith("The data set org/set is not in the local cache, and cannot be downloaded from the hub: ")
    hub.cut.clear()
    assert rows() == {"train": 90}


def test_a_command_says_it_in_one_message(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal("train", ["data=hub", "data.name=org/none", f"run={tmp_path / 'run'}"], capsys)
    assert said.startswith("data.name must be on the hub; it has no data set org/none")
    assert not (tmp_path / "run").exists()
