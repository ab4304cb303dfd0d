"""Learning curves of runs whose scores follow a known law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.comparison.evidence import Evidence
from src.comparison.learning_curves import Curve, Point, crossings, largest_size, learning_curves
from src.comparison.summary import learned
from src.grouping.groups import group
from src.grouping.runs import Block, Run, read_runs
from src.runs.folder import RunFolder
from tests.comparison.results import finished
from tests.conftest import composed

SIZES = {"0.125": 100, "0.25": 200, "0.5": 400, "1.0": 800}


def trained(root: Path, freeze: str, size: str, seed: int, accuracy: float, steps: int = 400) -> None:
    """Leaves a run on so many training texts with that result."""
    history = [{"epoch": n, "step": n * steps // 2, "train/loss": 1 - n / 10} for n in (1, 2)]
    more = {"texts": {"train": SIZES[size], "validation": 50, "test": 50}, "history": history, "best": {"epoch": 2}}
    finished(root, (f"freeze={freeze}", f"data.train_size={size}"), seed, accuracy, **more)


@pytest.fixture
def swept(tmp_path: Path) -> list[Run]:
    """The error of none is 2 / sqrt(n); that of all is always 0.14."""
    noise = np.random.default_rng(2).normal(scale=0.002, size=(2, len(SIZES), 3))
    for index, (size, texts) in enumerate(SIZES.items()):
        for seed in (1, 2, 3):
            trained(tmp_path, "none", size, seed, 1 - 2 * texts**-0.5 + noise[0, index, seed - 1])
            trained(tmp_path, "all", size, seed, 0.86 + noise[1, index, seed - 1])
    return read_runs(tmp_path)


def test_a_curve_says_what_twice_as_many_texts_bring(swept: list[Run]) -> None:
    largest = largest_size(swept)
    assert {run.values["data.train_size"] for run in largest} == {"1.0"}
    names = [member.name for member in group(largest)]
    found = learning_curves(swept, names, "accuracy")
    assert found is not None
    curves = {curve.name: curve for curve in found.curves}
    assert [point.texts for point in curves["none"].points] == [100, 200, 400, 800]
    doubled = curves["none"].doubled
    assert doubled is not None
    assert doubled.low < 1 - 2 * 1600**-0.5 < doubled.high
    assert doubled.high - doubled.low < 0.03
    assert curves["all"].doubled is None
    text = " ".join(learned(found, "accuracy"))
    assert "On these test texts, twice as many training texts should bring none to 0.9" in text
    assert "What more texts bring to all cannot be said: the error does not clearly fall" in text


def test_sizes_that_are_not_trained_to_the_end_do_not_bend_the_curve(tmp_path: Path) -> None:
    for size, accuracy, steps in (("0.125", 0.1, 50), ("0.25", 0.80, 400), ("0.5", 0.85, 400), ("1.0", 0.88, 400)):
        for seed in (1, 2):
            trained(tmp_path, "none", size, seed, accuracy + seed / 1000, steps)
    found = learning_curves(read_runs(tmp_path), ["none"], "accuracy")
    assert found is not None
    (curve,) = found.curves
    assert [point.undertrained for point in curve.points] == [True, False, False, False]
    assert curve.doubled is not None
    assert 0.87 < curve.doubled.value < 0.93


def test_without_sizes_there_is_no_curve(tmp_path: Path) -> None:
    trained(tmp_path, "none", "1.0", 1, 0.8)
    assert learning_curves(read_runs(tmp_path), ["none"], "accuracy") is None


def test_runs_of_one_size_stay_together(tmp_path: Path) -> None:
    """Folds of one size differ by a text, and a run that has failed does not say how many texts it has."""
    for size, counts in (("0.25", (179, 179, 180)), ("0.5", (358, 358, 359))):
        for fold, texts in enumerate(counts):
            place = ("freeze=all", f"data.train_size={size}", "data.folds=3", f"data.fold={fold}")
            finished(tmp_path, place, 1, 0.8, texts={"train": texts}, best={"epoch": 1})
    failed = RunFolder(tmp_path / "failed")
    failed.claim(composed("freeze=all", "data.train_size=0.5", "data.folds=3", "data.fold=0", "seed=2"))
    failed.write_status("failed", error="RuntimeError: out of luck")
    found = read_runs(tmp_path)
    halves = [run for run in found if run.values["data.train_size"] == "0.5"]
    assert largest_size(halves) == largest_size(found) == halves
    assert learning_curves(halves, ["all"], "accuracy") is None
    curves = learning_curves(found, ["all"], "accuracy")
    assert curves is not None
    assert [point.texts for point in curves.curves[0].points] == [179, 358]


def test_a_size_of_which_a_score_is_not_defined_is_left_out(tmp_path: Path) -> None:
    for size, score in (("50", None), ("100", 0.5), ("200", 0.5)):
        metrics = {"validation": {"mcc": score}, "test": {"mcc": score}}
        more = {"texts": {"train": int(size)}, "best": {"epoch": 1}, "metrics": metrics}
        finished(tmp_path, ("freeze=all", f"data.train_size={size}"), 1, 0.5, **more)
    found = learning_curves(read_runs(tmp_path), ["all"], "mcc")
    assert found is not None
    assert [point.texts for point in found.curves[0].points] == [100, 200]


def evidence(one: float, other: float) -> Evidence:
    """Of two strategies with these accuracies on 2,000 texts."""
    ease = np.random.default_rng(0).random(2000)
    scores = {
        name: {Block(seed): (np.random.default_rng(seed).normal(ease, 0.03) < right) * 1.0 for seed in (1, 2, 3)}
        for name, right in (("a", one), ("b", other))
    }
    totals = {name: {block: float(s.mean()) for block, s in blocks.items()} for name, blocks in scores.items()}
    return Evidence(scores, totals, None)


def curve(name: str, *scores: float) -> Curve:
    return Curve(name, [Point(n, s, None, False) for n, s in zip((100, 400), scores, strict=True)], None, "")


def test_strategies_cross_only_where_both_sides_are_shown() -> None:
    found = crossings(
        {100: evidence(0.7, 0.6), 400: evidence(0.75, 0.85)}, [curve("a", 0.7, 0.75), curve("b", 0.6, 0.85)]
    )
    lead, behind = (gap.mean for one in (evidence(0.7, 0.6), evidence(0.75, 0.85)) if (gap := one.difference("a", "b")))
    texts = round(100 * 4 ** (lead / (lead - behind)))  # 200 if both gaps were equal
    assert [(c.texts, c.below, c.above) for c in found] == [(texts, "a", "b")]
    unequal = [curve("a", 0.7, 0.9), curve("b", 0.6, 0.85)]  # a has more seeds with 400 texts, and they are high
    assert crossings({100: evidence(0.7, 0.6), 400: evidence(0.75, 0.85)}, unequal) == found
    slight = crossings(
        {100: evidence(0.7, 0.6), 400: evidence(0.75, 0.75)}, [curve("a", 0.7, 0.75), curve("b", 0.6, 0.76)]
    )
    assert slight == []
