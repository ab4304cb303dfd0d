"""The card of a final model has the scores of its cross-validation."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.config.folder import CONF
from src.errors import UserError
from src.export import export
from src.exports.cross_validation import cross_validation
from src.runs.folder import RunFolder
from src.statistics.resampled import resampled

ACCURACIES = [0.81, 0.85, 0.80, 0.83, 0.84, 0.79]  # of three folds, twice


@pytest.fixture
def root(finished: RunFolder, tmp_path: Path) -> Path:
    """The cross-validation of the finished run, and another one of the same folder."""
    for number, accuracy in enumerate(ACCURACIES):
        _fold(finished, tmp_path / "sweep" / str(number), number, accuracy)
        _fold(finished, tmp_path / "sweep" / f"other{number}", number, 0.5, "optimizer.head_lr=0.1", "freeze.x=1")
    return tmp_path / "sweep"


def _fold(run: RunFolder, path: Path, number: int, accuracy: float, *changes: str) -> None:
    repeat, fold = divmod(number, 3)
    place = [f"seed={repeat}", "data.folds=3", f"data.fold={fold}", f"data.repeat={repeat}"]
    RunFolder(path).claim(OmegaConf.merge(run.saved_config(), OmegaConf.from_dotlist([*place, *changes])))
    result: dict[str, Any] = copy.deepcopy(run.read_result())
    result["metrics"]["test"] |= {"accuracy": accuracy, "f1_macro": accuracy}
    result["texts"]["train"] = 30 + number
    RunFolder(path).write_json("result.json", result)


def test_the_card_has_mean_and_interval_of_the_folds(finished: RunFolder, root: Path, tmp_path: Path) -> None:
    values = [f"run={finished.path}", f"output={tmp_path / 'out'}", "format=safetensors", f"evidence={root}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        export(compose("export", values))
    card = (tmp_path / "out" / "README.md").read_text()
    estimate = resampled(np.array(ACCURACIES), 3)
    assert estimate is not None
    found = estimate.interval()
    assert f"| accuracy | {np.mean(ACCURACIES):.4f} | {found.low:.4f} to {found.high:.4f} |" in card
    assert "6 runs with the same settings, in 2 repeats of a 3-fold cross-validation" in card
    train = finished.read_result()["texts"]["train"]
    assert "trained on about 32 texts" in card
    assert f"This model itself was trained on the {train} training texts of its own split" in card


def test_repeats_without_all_their_folds_do_not_count(finished: RunFolder, root: Path) -> None:
    shutil.rmtree(root / "5")
    found = cross_validation(finished, root)
    assert (found.folds, found.repeats, found.runs) == (3, 1, 3)
    assert found.scores["accuracy"][0] == pytest.approx(np.mean(ACCURACIES[:3]))


def _without_folds(root: Path) -> None:
    for file in root.glob("*/config.yaml"):
        file.write_text(OmegaConf.to_yaml(OmegaConf.merge(OmegaConf.load(file), {"data": {"folds": None}})))


def _with_others_only(root: Path) -> None:
    for number in range(6):
        shutil.rmtree(root / str(number))


def _without_a_fold(root: Path) -> None:
    for number in (0, 3):
        shutil.rmtree(root / str(number))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (shutil.rmtree, "{root} has no runs"),
        (_without_folds, "none of the 12 runs in {root} has data.folds"),
        (_with_others_only, "the most similar runs in {root} differ in freeze.x, optimizer.head_lr"),
        (_without_a_fold, "no repeat in {root} has all of its folds"),
    ],
)
def test_a_folder_without_that_cross_validation_is_refused(
    change: Callable[[Path], None], problem: str, finished: RunFolder, root: Path
) -> None:
    change(root)
    with pytest.raises(UserError) as refused:
        cross_validation(finished, root)
    assert f"; {problem.format(root=root)}.\nGive the folder of a multirun" in str(refused.value)
