"""Comparisons of cross-validations: blocks of folds, the corrected resampled t, repeats that are not whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from src.comparison.comparison import compare
from src.errors import UserError
from src.grouping.groups import best_of, group
from src.grouping.runs import Block, Run, read_runs
from src.statistics.resampled import resampled
from tests.comparison.results import finished

SCORES = {"none": [[0.82, 0.85, 0.80], [0.83, 0.84, 0.79]], "all": [[0.71, 0.76, 0.72], [0.74, 0.73, 0.70]]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for freeze, repeats in SCORES.items():
        for repeat, scores in enumerate(repeats):
            for fold, accuracy in enumerate(scores):
                place = (f"freeze={freeze}", f"data.repeat={repeat}", f"data.fold={fold}", "data.folds=3")
                finished(tmp_path, place, repeat, accuracy)
    return tmp_path


def runs(root: Path) -> list[Run]:
    return read_runs(root)


def test_a_repeat_is_one_block_of_all_its_folds(root: Path) -> None:
    none = next(member for member in group(runs(root)) if member.name == "none")
    assert {block: [run.fold for run in members] for block, members in none.blocks.items()} == {
        Block(0, 0): [0, 1, 2],
        Block(1, 1): [0, 1, 2],
    }
    assert none.values("metrics", "test", "accuracy") == pytest.approx({(0, 0): 0.8233333, (1, 1): 0.82})


def test_the_corrected_resampled_t_decides(root: Path) -> None:
    comparison = compare(group(runs(root)), "accuracy", None, 0.01)
    row = comparison.rows[1]
    differences = np.array(SCORES["all"]).ravel() - np.array(SCORES["none"]).ravel()
    estimate = resampled(differences, 3)
    assert estimate is not None
    assert (row.evidence, row.pairs, row.seeds) == ("folds", 2, [0, 1])
    assert row.difference == pytest.approx(differences.mean())
    assert row.difference_interval == estimate.interval()
    own = resampled(np.array(SCORES["all"]).ravel(), 3)
    assert own is not None
    assert row.intervals["accuracy"] == own.interval()
    assert row.texts_p == {}


@pytest.mark.rare
def test_a_repeat_without_one_of_its_folds_is_left_out(root: Path) -> None:
    shutil.rmtree(root / "all_1_2_3_1")
    comparison = compare(group(runs(root)), "accuracy", None, 0.01)
    row = next(row for row in comparison.rows if row.name == "all")
    assert (row.seeds, row.missing, row.pairs, row.runs) == ([0], [1], 1, 3)
    assert row.scores["accuracy"] == pytest.approx(0.73)
    assert "Repeats of which a fold is missing are left out: of all." in comparison.sentence


@pytest.mark.rare
def test_without_any_whole_repeat_there_is_nothing_to_compare(root: Path) -> None:
    for folder in root.glob("*_0_3_*"):
        shutil.rmtree(folder)
    with pytest.raises(UserError, match="No group has a run of every fold"):
        compare(group(runs(root)), "accuracy", None, 0.01)


def test_settings_without_a_whole_repeat_are_not_the_best_of_their_strategy(tmp_path: Path) -> None:
    for rate, scores in (("0.001", [0.7, 0.71, 0.72]), ("0.01", [0.9])):
        for fold, accuracy in enumerate(scores):
            place = (f"optimizer.lr={rate}", "data.repeat=0", f"data.fold={fold}", "data.folds=3")
            finished(tmp_path, (*place, "monitor.metric=validation/accuracy"), 0, accuracy)
    (found,) = best_of(group(runs(tmp_path)), "freeze")
    assert (found.label["optimizer.lr"], len(found.complete)) == ("0.001", 3)
