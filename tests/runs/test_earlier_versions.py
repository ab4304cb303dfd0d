"""Run folders that version 0.1.0 wrote, before modules moved and keys were added, are still read, resumed, compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from src.config.folder import CONF
from src.predict import Predictor
from src.runs.folder import RunFolder
from src.runs.moved_names import MOVED, with_current_names
from tests.conftest import main

WRITTEN = Path(__file__).parent / "version_0_1_0"
RUNS = sorted(folder.name for folder in (WRITTEN / "runs").iterdir())


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs, their texts and their backbone where the runs' configs say they are, from the current folder on."""
    shutil.copytree(WRITTEN, tmp_path / "old")
    monkeypatch.chdir(tmp_path)
    return Path("old/runs")


@pytest.mark.parametrize("name", RUNS)
def test_predictions_are_those_that_the_run_wrote(name: str, written: Path) -> None:
    table = pyarrow.parquet.read_table(written / name / "predictions" / "test.parquet")
    predictor = Predictor.load(written / name)
    found = predictor.probabilities(table["text"].to_pylist())
    np.testing.assert_allclose(found, np.array(table["probabilities"].to_pylist()), atol=1e-5)
    assert predictor.decide(found) == [[label] for label in table["predicted"].to_pylist()]


@pytest.mark.filterwarnings("ignore:Experiment logs directory")  # Lightning's CSV logger begins its file anew
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_resumed_and_trained_longer(name: str, written: Path) -> None:
    folder = RunFolder(written / name)
    before = folder.read_result()
    epochs = len(before["history"]) + 1
    main("train", [f"run={folder.path}", "resume=true", f"trainer.max_epochs={epochs}", "callbacks.progress=null"])
    after = folder.read_result()
    assert [e["epoch"] for e in after["history"]] == list(range(1, epochs + 1))
    # What was trained before is not trained again.
    for old, new in zip(before["history"], after["history"], strict=False):
        assert new == pytest.approx(old)


def test_seeds_are_one_group_and_other_strategies_another(written: Path) -> None:
    main("compare", [f"runs={written}"])
    found = json.loads((written / "comparison.json").read_text())
    assert sorted(row["name"] for row in found["rows"]) == ["bottom:2", "gradual:1"]


def test_a_run_is_exported_and_explained(written: Path, tmp_path: Path) -> None:
    main("export", [f"run={written}/bottom_1", f"output={tmp_path / 'exported'}"])
    assert (tmp_path / "exported" / "load.py").exists()
    main("explain", [f"run={written}/bottom_1", "text=A fine film.", "name=why"])
    assert (written / "bottom_1" / "explanations" / "why").is_dir()


def test_every_moved_name_leads_to_something_that_can_be_built() -> None:
    from hydra.utils import get_object

    for old, new in MOVED.items():
        assert callable(get_object(new)), old
    targets = {
        line.partition("_target_:")[2].strip() for f in CONF.rglob("*.yaml") for line in f.read_text().splitlines()
    }
    assert set(MOVED.values()) <= targets
    assert not targets & MOVED.keys()


def test_names_move_wherever_they_stand() -> None:
    old = {"model": {"_target_": "src.heads.LinearHead"}, "freeze": {"links": [{"_target_": "src.multiphase.Chain"}]}}
    new = with_current_names(OmegaConf.create(old))
    assert new.model._target_ == "src.models.heads.LinearHead"
    assert new.freeze.links[0]._target_ == "src.freezing.Chain"
    assert with_current_names(new) is new
