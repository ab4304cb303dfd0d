"""Whole runs whose backbone and data come from a hub on this machine: they keep to the commit they began with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load, save

from src import train as training
from src.config.folder import CONF
from src.errors import UserError
from src.export import export
from src.prediction.predictor import Predictor
from src.runs.folder import RunFolder
from tests.conftest import composed_for, longer
from tests.hub.conftest import parquet, table
from tests.hub.repositories import READER, Files
from tests.hub.server import Hub

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
SMALL = ("backbone.name=org/tiny", "model=bert_linear", "freeze=all", "trainer.max_epochs=1")


def with_other_weights(files: Files) -> Files:
    weights = {name: tensor + 1 for name, tensor in load(files["model.safetensors"]).items()}
    return {**files, "model.safetensors": save(weights, {"format": "pt"})}


@pytest.fixture
def gone_on(hub: Hub, tiny: Files, home: Path, run_tiny: Run) -> tuple[RunFolder, str]:
    """A finished run, and the commit of its backbone, whose branch has gone on since; the cache is lost."""
    commit = hub.add("model", "org/tiny", tiny)
    folder, result = run_tiny(*SMALL)
    assert result["backbone"]["revision"] == commit
    hub.repositories["model", "org/tiny"].commit(with_other_weights(tiny))
    shutil.rmtree(home)
    return folder, commit


def test_predictions_and_exports_use_the_commit_of_the_run(
    gone_on: tuple[RunFolder, str], home: Path, tmp_path: Path
) -> None:
    folder, commit = gone_on
    assert Predictor.load(folder.path).probabilities(["good"]).shape == (1, 3)
    export(composed_for("export", run=str(folder.path), output=str(tmp_path / "exported")))
    assert [file.name for file in (home / "hub" / "models--org--tiny" / "snapshots").iterdir()] == [commit]


@pytest.mark.slow
def test_a_finished_run_is_trained_for_longer_with_its_commit(gone_on: tuple[RunFolder, str]) -> None:
    folder, commit = gone_on
    result = training.train(longer(folder, "trainer.max_epochs=2"), folder)
    assert result["backbone"]["revision"] == commit


@pytest.mark.slow
def test_an_interrupted_run_names_the_commit_to_go_on_with(
    gone_on: tuple[RunFolder, str], hub: Hub, tiny: Files, home: Path
) -> None:
    folder, commit = gone_on
    (folder.path / "result.json").unlink()
    now = hub.repositories["model", "org/tiny"].refs["main"]
    with pytest.raises(UserError, match=rf"\n  commit of the backbone: {commit} then, {now} now\n"):
        training.train(longer(folder, "trainer.max_epochs=2"), folder)
    result = training.train(longer(folder, "trainer.max_epochs=2", f"backbone.revision={commit}"), folder)
    assert result["backbone"]["revision"] == commit


@pytest.mark.slow
def test_another_commit_with_the_same_files_goes_on(gone_on: tuple[RunFolder, str], hub: Hub, tiny: Files) -> None:
    folder, _ = gone_on
    (folder.path / "result.json").unlink()
    commit = hub.repositories["model", "org/tiny"].commit({**tiny, "README.md": b"about"})
    result = training.train(longer(folder, "trainer.max_epochs=2"), folder)
    assert result["backbone"]["revision"] == commit


@pytest.mark.slow
def test_commands_in_processes_of_their_own(server: Hub, tiny: Files, home: Path, tmp_path: Path) -> None:
    server.add("model", "org/tiny", tiny, private=True)
    server.add("dataset", "org/set", {"train.parquet": parquet(table(0, 90)), "test.parquet": parquet(table(90, 120))})

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **given, **environment},
            capture_output=True,
            text=True,
            cwd=CONF.parent,
            check=False,
            timeout=300,
        )

    small = (
        *SMALL,
        "data=hub",
        "data.name=org/set",
        "data.max_length=32",
        "trainer=cpu",
        f"cache={tmp_path / 'cache'}",
    )
    folder = tmp_path / "run"
    refused = run("src.train", *small, f"run={folder}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "it has no model org/tiny that can be read without a token" in refused.stderr
    assert not folder.exists()
    trained = run("src.train", *small, f"run={folder}", HF_TOKEN=READER)
    assert trained.returncode == 0, trained.stderr
    assert "HTTP Request" not in trained.stdout
    assert READER not in trained.stdout + trained.stderr
    assert not [file for file in folder.rglob("*") if file.is_file() and READER.encode() in file.read_bytes()]
    server.requests.clear()
    predicted = run("src.predict", f"run={folder}", "text=good", HF_HUB_OFFLINE="1")
    assert predicted.returncode == 0, predicted.stderr
    assert not server.requests
