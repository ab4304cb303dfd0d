"""Races of recorded runs: what is launched, what an interruption costs, and what a race leaves."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from src.comparison.compare_runs import compare
from src.errors import UserError
from src.race.record import read_race
from src.race.replay import Race
from src.race.rules import Rules
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.sweeps.racing import Job, run_race
from src.sweeps.recorded import recorded
from tests.comparison.results import finished
from tests.conftest import Command

TEXTS, BLOCKS = 400, 4
ARMS = {"none": 0, "bottom": 1, "all": 60}  # texts that an arm has wrong, besides 80
HISTORY = [{"epoch": 1, "validation/loss": 0.5}]
RULES = Rules(margin=0.03, goal="cheapest", blocks=BLOCKS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[RunFolder]]:
    """A finished run of each arm and seed, as a full sweep would leave them."""
    root, found = tmp_path_factory.mktemp("runs"), {}
    for number, (arm, lost) in enumerate(ARMS.items()):
        found[arm] = [run(root, arm, seed, lost, 60.0 - 20 * number) for seed in range(1, BLOCKS + 1)]
    return found


def run(root: Path, arm: str, seed: int, lost: int, seconds: float) -> RunFolder:
    right = np.arange(TEXTS) >= 80 + lost
    right[np.random.default_rng([seed, lost]).integers(TEXTS, size=4)] ^= True
    times = {"fit": 1.0, "total": seconds}
    finished(root, (f"freeze={arm}",), seed, float(right.mean()), seconds=times, best={"epoch": 1}, history=HISTORY)
    folder = RunFolder(root / f"{arm}_{seed}")
    folder.write_status("finished")
    true = [["no", "yes"][text % 2] for text in range(TEXTS)]
    predicted = [label if ok else {"no": "yes", "yes": "no"}[label] for label, ok in zip(true, right, strict=True)]
    columns = {"row": list(range(TEXTS)), "text": [f"text number {n}" for n in range(TEXTS)], "true": true}
    probabilities = [[0.9, 0.1] if label == "no" else [0.1, 0.9] for label in predicted]
    table = pyarrow.table({**columns, "predicted": predicted, "probabilities": probabilities})
    for split in ("validation", "test"):
        pyarrow.parquet.write_table(table, folder.file("predictions", f"{split}.parquet"))
    return folder


class Launcher:
    """Copies finished runs into a sweep instead of training them.

    Args:
        runs: of all arms.
        root: of the sweep.
        jobs: after how many it is interrupted.
        failing: folders of runs that fail instead.
    """

    def __init__(
        self, runs: dict[str, list[RunFolder]], root: Path, jobs: int = 99, failing: Sequence[str] = ()
    ) -> None:
        self.runs, self.root, self.left, self.failing = runs, root, jobs, failing
        self.launched: list[str] = []

    def __call__(self, jobs: Sequence[Sequence[str]], number: int) -> None:
        for place, (arm, seed) in enumerate(jobs, start=number):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.launched.append(f"{arm}_{seed}")
            source = self.runs[arm][int(seed) - 1].path
            target = next((f.parent for f in self.root.glob("*/config.yaml") if f.read_text() == _config(source)), None)
            target = target or self.root / str(place)
            shutil.copytree(source, target, dirs_exist_ok=True)
            if f"{arm}_{seed}" in self.failing:
                (target / "result.json").unlink()
                RunFolder(target).write_status("failed", error="ValueError: out of luck")

    def race(self, rules: Rules = RULES) -> Race:
        jobs = [
            [Job([arm, str(seed)], identity(run)) for seed, run in enumerate(own, start=1)]
            for arm, own in self.runs.items()
        ]
        self.root.mkdir(exist_ok=True)
        return run_race(jobs, rules, "time", self.root, self)


@functools.cache
def identity(run: RunFolder) -> str:
    return config_hash(run.saved_config())


def _config(source: Path) -> str:
    return (source / "config.yaml").read_text()


def test_only_arms_in_the_race_are_launched(
    runs: dict[str, list[RunFolder]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = Launcher(runs, tmp_path / "race")
    race = launcher.race()
    assert launcher.launched == [f"{arm}_{seed}" for seed in (1, 2) for arm in ARMS]
    assert [(one.arm, one.reason) for one in race.exits] == [("all", "worse"), ("none", "dearer")]
    assert race.chosen == "bottom:4"
    assert read_race(tmp_path / "race") == race
    said = capsys.readouterr().out
    assert "Race, 1 of 4 seeds: in the race: none, bottom:4, all." in said
    assert "it ends, since no other arm is left." in said


def test_an_arm_that_leaves_is_not_launched_again(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    launcher = Launcher(runs, tmp_path / "race")
    launcher.race(replace(RULES, margin=0.012))
    assert [name for name in launcher.launched if name.startswith("all")] == ["all_1", "all_2"]


@pytest.mark.parametrize("jobs", [1, 3, 5])
def test_an_interrupted_race_goes_on_where_it_was(runs: dict[str, list[RunFolder]], tmp_path: Path, jobs: int) -> None:
    interrupted, again = (Launcher(runs, tmp_path / "race", count) for count in (jobs, 99))
    with pytest.raises(KeyboardInterrupt):
        interrupted.race()
    race, whole = again.race(), Launcher(runs, tmp_path / "whole")
    assert race == whole.race()
    assert [*interrupted.launched, *again.launched] == whole.launched
    finished = Launcher(runs, tmp_path / "race")
    assert finished.race() == race
    assert not finished.launched
    names = sorted(folder.name for folder in (tmp_path / "race").iterdir() if folder.is_dir())
    assert names == [str(number) for number in range(len(whole.launched))]


def test_a_failed_job_costs_itself_and_is_tried_again(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    launcher = Launcher(runs, tmp_path / "race", failing=("bottom_1",))
    race = launcher.race()
    assert race.chosen == "bottom:4"
    assert launcher.launched[-2:] == ["none_3", "bottom_3"]
    again = Launcher(runs, tmp_path / "race")
    assert again.race().chosen == "bottom:4"
    assert again.launched == ["bottom_1"]


def test_all_arms_failing_is_one_message(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    root = tmp_path / "race"
    launcher = Launcher(runs, root, failing=[f"{arm}_1" for arm in ARMS])
    assert launcher.race().end == "nothing finished"
    assert len(launcher.launched) == 3
    with pytest.raises(UserError, match="None of these runs has finished"):
        compare(root, "accuracy", None, None, 0.03, mixed=True)


def test_the_comparison_answers_with_the_race(
    runs: dict[str, list[RunFolder]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "race"
    Launcher(runs, root).race()
    assert compare(root, "accuracy", None, None, 0.03, mixed=True) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Choose bottom:4 (25.0% of the weights train): test accuracy 0." in shown
    assert "it is the cheapest of those that are as good as the best, at most 0.0" in shown
    assert "after 2 of 4 seeds no other arm is left." in shown
    assert "Out: all after 2 seeds, 0.1" in shown
    assert "none after 2 seeds, dearer than bottom" in shown
    assert "The runs took 4 minutes, 50% of the 8 minutes that all 12 of them would take." in shown
    found = json.loads((root / "comparison.json").read_text())
    assert found["decision"]["chosen"] == found["race"]["chosen"]
    assert "The race, on validation texts" in (root / "compare.html").read_text()
    assert (root / "plots" / "race.png").exists()


def test_folds_are_blocks_of_their_own_before_a_repeat_is_complete(tmp_path: Path) -> None:
    arms = []
    for arm, accuracy in (("none", 0.8), ("all", 0.6)):
        for fold in range(2):
            overrides = (f"freeze={arm}", "data.folds=3", f"data.fold={fold}")
            finished(tmp_path, overrides, 1, accuracy + 0.01 * fold)
        folders = [RunFolder(tmp_path / f"{arm}_3_{fold}_1") for fold in range(2)]
        arms.append([*map(identity, folders), "of a fold that has not run"])
    found = recorded(arms, "accuracy", "parameters", tmp_path)
    assert (found.names, found.folds) == (["none", "all"], 3)
    assert {block: run.score for block, run in found.arms["all"].items()} == {0: 0.6, 1: 0.61}
    assert found.cost("all") == 10


def test_a_damaged_record_is_refused(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    root = tmp_path / "race"
    Launcher(runs, root).race()
    (root / "race.json").write_text("{")
    with pytest.raises(UserError, match=r"race\.json must be the course of a race; it cannot be read"):
        compare(root, "accuracy", None, None, 0.03, mixed=True)


@pytest.mark.slow
def test_a_small_race_from_the_command_line(multirun: Command, tmp_path: Path) -> None:
    command = ("sweep=race", "freeze=none,embeddings,all", "race.margin=0.9", "race.cost=parameters")
    ended = multirun(*command)
    assert ended.returncode == 0, ended.stderr
    assert "Race, 1 of 5 seeds: in the race" in ended.stdout
    race = read_race(tmp_path / "sweep")
    assert race is not None
    assert race.end is not None
    found = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert len(found["rows"]) == 3
    again = multirun(*command)
    assert again.returncode == 0, again.stderr
    assert "Launching" not in again.stdout
    assert read_race(tmp_path / "sweep") == race


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("freeze=none",), "A race needs at least two arms"),
        (("freeze=all,all",), "A race needs at least two arms"),
        (("freeze=none,all", "seed=1,2"), "A race of 2 arms needs at least 3 blocks"),
        (("race.budget=soon",), "race.budget must be a time such as 90s, 30min or 2h; got soon"),
        (("race.metric=loss",), "race.metric must be a score that is better when higher; got loss"),
    ],
)
def test_a_race_that_cannot_answer_is_refused(multirun: Command, arguments: Sequence[str], message: str) -> None:
    ended = multirun("sweep=race", *arguments)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
