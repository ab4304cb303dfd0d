"""Errors, which are better when lower: compared and raced by like any other score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from src.arrays import NDArray
from src.comparison import comparison
from src.comparison.compare_runs import compare
from src.comparison.plots import pareto
from src.config.monitor import shown
from src.grouping.groups import group
from src.grouping.runs import read_runs
from src.statistics.crossed import crossed
from tests.comparison.results import numbers
from tests.conftest import refusal

TEXTS, SEEDS = 300, 3
SIZES = {"none": 0.50, "bottom": 0.51, "all": 0.60}  # of the errors of each strategy
SECONDS = {"none": 60.0, "bottom": 30.0, "all": 10.0}
Errors = dict[str, NDArray[np.float64]]


def runs_in(root: Path) -> Errors:
    """Leaves runs of three strategies; returns their absolute errors, [seeds, texts]."""
    random = np.random.default_rng(0)
    true, base = random.normal(3, 2, TEXTS), random.normal(size=TEXTS)
    found = {}
    for name, size in SIZES.items():
        errors = [size * (base + 0.03 * random.normal(size=TEXTS)) for _ in range(SEEDS)]
        for seed, error in enumerate(errors, start=1):
            numbers(root, name, seed, true, true + error, SECONDS[name])
        found["bottom:4" if name == "bottom" else name] = np.abs(errors)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Errors]:
    folder = tmp_path_factory.mktemp("errors")
    return folder, runs_in(folder)


@pytest.fixture
def root(runs: tuple[Path, Errors]) -> Path:
    return runs[0]


def test_the_lowest_error_is_the_best(runs: tuple[Path, Errors], capsys: pytest.CaptureFixture[str]) -> None:
    root, errors = runs
    assert not compare(root, "mae", None, None, None, mixed=True).problems
    shown_ = " ".join(capsys.readouterr().out.split())
    found = json.loads((root / "comparison.json").read_text())
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["none", "bottom:4", "all"]
    assert found["margin"] == pytest.approx(0.02)  # a hundredth of the standard deviation of the targets
    assert (found["decision"]["chosen"], found["decision"]["sure"]) == ("bottom:4", True)
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "none": "baseline",
        "bottom:4": "non-inferior",
        "all": "inferior",
    }
    for name, row in rows.items():
        assert row["scores"]["mae"] == pytest.approx(errors[name].mean())
        own, expected = row["intervals"]["mae"], crossed(errors[name])
        assert expected is not None
        assert (own["low"], own["high"]) == pytest.approx((expected.interval().low, expected.interval().high))
    apart = crossed(errors["all"] - errors["none"])
    assert apart is not None
    interval = apart.interval(comparisons=3)
    assert rows["all"]["difference"] == pytest.approx(apart.mean)
    assert rows["all"]["difference_interval"] == pytest.approx(
        {"value": interval.value, "low": interval.low, "high": interval.high}
    )
    assert (rows["all"]["better"], rows["bottom:4"]["better"]) == (0.0, 0.0)
    assert "shown to be at most 0.02 above the best in validation mae." in shown_
    assert "above best" in shown_
    assert "Worse than none in validation: all by 0.0" in shown_
    page = (root / "compare.html").read_text()
    assert "Above best: by how much the group may be above the best group at most, on validation texts." in page


def test_the_root_of_squared_errors_decides_too(root: Path) -> None:
    found = comparison.compare(group(read_runs(root)), "rmse", None, 0.001)
    assert [row.evidence for row in found.rows] == [None, "seeds and texts", "seeds and texts"]
    assert found.decision.chosen == "none"
    worst = found.rows[2].difference_interval
    assert worst is not None
    assert worst.low > 0


def test_a_margin_may_be_as_large_as_the_units_need(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = comparison.compare(group(read_runs(root)), "mae", None, 1.5)
    assert found.decision.chosen == "all"
    said = refusal("compare", [f"runs={root}", "metric=r2", "margin=1.5"], capsys)
    assert said == "margin must be less than 1, unless metric is mae or rmse; got 1.5.\n"


def test_errors_are_shown_with_the_digits_of_their_units() -> None:
    assert shown(0.12345, "accuracy") == "0.123"
    assert shown(-0.12345, "accuracy", plus=True) == "-0.123"
    assert [shown(value, "mae") for value in (0.00012345, 1.2345, 123.44, 12_345.6)] == [
        *("0.0001234", "1.234", "123.4", "12,346")
    ]
    assert shown(5.0, "rmse", plus=True) == "+5"


def test_what_costs_less_and_errs_less_is_optimal() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.6)]
    assert pareto(points, -1) == [(1.0, 0.5), (2.0, 0.4)]
