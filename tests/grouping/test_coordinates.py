"""Folds, repeats and sizes of the training split: which runs are one group, and which have the same test."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.errors import UserError
from src.grouping.comparable import check_comparable, differing_settings
from src.grouping.groups import group
from src.grouping.runs import Run, read_runs
from src.runs.folder import RunFolder
from tests.conftest import composed


def failed(root: Path, *overrides: str) -> None:
    """Leaves a run that has failed, of which only the config is known."""
    folder = RunFolder(root / str(len(list(root.glob("*")))))
    folder.claim(composed(*overrides))
    folder.write_status("failed", error="RuntimeError: out of luck")


def crossed(root: Path) -> list[Run]:
    for freeze in ("all", "none"):
        for repeat in (0, 1):
            for fold in (0, 1):
                place = ("data.folds=2", f"data.fold={fold}", f"data.repeat={repeat}", f"seed={repeat}")
                failed(root, f"freeze={freeze}", *place)
    return read_runs(root)


def test_fold_and_repeat_are_coordinates_of_a_run_like_its_seed(tmp_path: Path) -> None:
    found = crossed(tmp_path)
    assert differing_settings(found) == []
    assert [(g.label, len(g.runs)) for g in group(found)] == [({"strategy": "all"}, 4), ({"strategy": "none"}, 4)]


@pytest.mark.rare
def test_another_number_of_folds_is_another_test(tmp_path: Path) -> None:
    crossed(tmp_path)
    failed(tmp_path, "freeze=all", "data.folds=3", "data.fold=0")
    with pytest.raises(UserError, match=r"must have the same test; these differ in data\.folds\."):
        check_comparable(read_runs(tmp_path))


def test_runs_on_fewer_training_texts_are_groups_with_the_same_test(tmp_path: Path) -> None:
    for size in ("0.5", "1.0"):
        failed(tmp_path, "freeze=all", f"data.train_size={size}")
    found = group(read_runs(tmp_path))
    assert [g.label for g in found] == [{"strategy": "all", "data.train_size": size} for size in ("0.5", "1.0")]


def test_callbacks_that_decide_what_a_run_learns_make_groups_and_others_none(tmp_path: Path) -> None:
    patience = "callbacks.early_stopping.patience"
    for more in (f"{patience}=2", f"{patience}=5", "callbacks=no_early_stopping", "monitor.metric=validation/accuracy"):
        failed(tmp_path, "freeze=all", more, "seed=1")
        watched = ("logger=csv", "callbacks.progress=null", "callbacks.checkpoint.weights_only=true")
        failed(tmp_path, "freeze=all", more, "seed=2", *watched, "callbacks.checkpoint.every_minutes=1")
    found = group(read_runs(tmp_path))
    assert [(list(g.label.values()), [run.seed for run in g.runs]) for g in found] == [
        (["all", "LastPhaseStopping", "2", "validation/loss"], [1, 2]),
        (["all", "LastPhaseStopping", "3", "validation/accuracy"], [1, 2]),
        (["all", "LastPhaseStopping", "5", "validation/loss"], [1, 2]),
        (["all", "null", "-", "validation/loss"], [1, 2]),
    ]
    assert list(found[0].label) == ["strategy", "callbacks.early_stopping", patience, "monitor.metric"]
