"""Races of recorded runs: what is launched, what an interruption costs, and what a race leaves."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext

from hydra_plugins import race_sweeper
from src.comparison.compare_runs import compare
from src.config.folder import CONF
from src.errors import UserError
from src.race.record import read_race
from src.race.replay import Race
from src.race.rules import Rules
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.sweeps.progress import JOBS
from src.sweeps.racing import Arm, Job, run_race
from src.sweeps.recorded import recorded
from tests.comparison.results import finished, numbers
from tests.conftest import Command

TEXTS, BLOCKS = 400, 4
SPLITS = ("validation", "test")
ARMS = {"none": 0, "bottom": 1, "all": 60}  # texts that an arm has wrong, besides 80
HISTORY = [{"epoch": 1, "validation/loss": 0.5}]
TUNED = ("none", "bottom")  # arms with trials; the rate of the others is not searched
RATES = {"1e-05": 50, "2e-05": 3, "0.0001": 3}  # texts that their trials have wrong, besides 80: the last two tie
RULES = Rules(margin=0.03, goal="cheapest", blocks=BLOCKS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[RunFolder]]:
    """A finished run of each arm and seed, as a full sweep would leave them."""
    root, found = tmp_path_factory.mktemp("runs"), {}
    for number, (arm, lost) in enumerate(ARMS.items()):
        found[arm] = [run(root, arm, seed, lost, 60.0 - 20 * number) for seed in range(1, BLOCKS + 1)]
    return found


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[RunFolder]]:
    """A finished trial of each learning rate, for two of the arms."""
    root = tmp_path_factory.mktemp("trials")
    return {
        f"{arm} {rate}": [run(root, arm, 1_000_000, lost, 30.0, f"optimizer.lr={rate}", "+race.trial=true")]
        for arm in TUNED
        for rate, lost in RATES.items()
    }


def run(root: Path, arm: str, seed: int, lost: int, seconds: float, *more: str) -> RunFolder:
    right = np.arange(TEXTS) >= 80 + lost
    right[np.random.default_rng([seed, lost]).integers(TEXTS, size=4)] ^= True
    times = {"fit": 1.0, "total": seconds}
    overrides = (f"freeze={arm}", *more)
    finished(root, overrides, seed, float(right.mean()), seconds=times, best={"epoch": 1}, history=HISTORY)
    folder = RunFolder(root / "_".join(override.partition("=")[2] for override in (*overrides, f"seed={seed}")))
    folder.write_status("finished")
    true = [["no", "yes"][text % 2] for text in range(TEXTS)]
    predicted = [label if ok else {"no": "yes", "yes": "no"}[label] for label, ok in zip(true, right, strict=True)]
    columns = {"row": list(range(TEXTS)), "text": [f"text number {n}" for n in range(TEXTS)], "true": true}
    probabilities = [[0.9, 0.1] if label == "no" else [0.1, 0.9] for label in predicted]
    table = pyarrow.table({**columns, "predicted": predicted, "probabilities": probabilities})
    for split in SPLITS:
        pyarrow.parquet.write_table(table, folder.file("predictions", f"{split}.parquet"))
    return folder


class Launcher:
    """Copies finished runs into a sweep instead of training them.

    Args:
        runs: of all arms, and their trials.
        root: of the sweep.
        jobs: after how many it is interrupted.
        failing: folders of runs that fail instead.
        unscored: folders of runs that define no accuracy.
    """

    def __init__(
        self,
        runs: dict[str, list[RunFolder]],
        root: Path,
        jobs: int = 99,
        failing: Sequence[str] = (),
        unscored: Sequence[str] = (),
    ) -> None:
        self.runs, self.root, self.left, self.failing, self.unscored = runs, root, jobs, failing, unscored
        self.launched: list[str] = []
        self.settings: dict[str, str] = {}  # that the arms race with

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
            if f"{arm}_{seed}" in self.unscored:
                result = RunFolder(target).read_result()
                scores = {"accuracy": None, "f1_macro": 0.5}
                RunFolder(target).write_json("result.json", result | {"metrics": dict.fromkeys(SPLITS, scores)})

    def race(self, rules: Rules = RULES, repeats: Sequence[str] = (), relative: bool = False) -> Race:
        self.root.mkdir(exist_ok=True)
        return run_race([self._arm(arm) for arm in ARMS], rules, self.root, self, repeats, relative)

    def _arm(self, arm: str) -> Arm:
        trials = {
            f"optimizer.lr={rate}": Job([f"{arm} {rate}", "1"], identity(self.runs[f"{arm} {rate}"][0]))
            for rate in RATES
            if f"{arm} {rate}" in self.runs
        }

        def jobs(setting: str) -> list[Job]:
            self.settings[arm] = setting
            return [Job([arm, str(seed)], identity(run)) for seed, run in enumerate(self.runs[arm], start=1)]

        return Arm(f"freeze={arm}", trials or {"": Job([], "not launched")}, jobs)


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


@pytest.mark.rare
def test_arms_race_by_errors_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random, runs = np.random.default_rng(0), dict[str, list[RunFolder]]()
    true, base = random.normal(3, 2, TEXTS), random.normal(size=TEXTS)
    for number, (arm, size) in enumerate({"none": 0.5, "bottom": 0.502, "all": 0.6}.items()):
        said = [true + size * (base + 0.03 * random.normal(size=TEXTS)) for _ in range(BLOCKS)]
        places = enumerate(said, start=1)
        runs[arm] = [numbers(tmp_path, arm, seed, true, one, 60.0 - 20 * number) for seed, one in places]
    rules = replace(RULES, margin=0.01, metric="mae")
    launcher = Launcher(runs, tmp_path / "race")
    race = launcher.race(rules, relative=True)
    assert race.rules.margin == 0.02  # of targets with a standard deviation of 2
    assert [(one.arm, one.reason) for one in race.exits] == [("all", "worse"), ("none", "dearer")]
    assert race.chosen == "bottom:4"
    assert race.looks[0].scores["all"] < race.looks[0].scores["none"] < 0
    assert "all after 2 seeds, 0.0" in (said_ := capsys.readouterr().out)
    assert "] above none;" in said_
    assert read_race(tmp_path / "race") == race


@pytest.mark.rare
def test_the_chosen_arm_completes_its_repeat(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    launcher = Launcher(runs, tmp_path / "race")
    race = launcher.race(repeats=["first", "first", "first", "second"])
    assert launcher.launched == [*(f"{arm}_{seed}" for seed in (1, 2) for arm in ARMS), "bottom_3"]
    assert len(race.looks) == 2
    again = Launcher(runs, tmp_path / "race")
    assert again.race(repeats=["first", "first", "first", "second"]) == race
    assert not again.launched


def test_an_arm_that_leaves_is_not_launched_again(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    launcher = Launcher(runs, tmp_path / "race")
    launcher.race(replace(RULES, margin=0.012))
    assert [name for name in launcher.launched if name.startswith("all")] == ["all_1", "all_2"]


@pytest.mark.parametrize("jobs", [1, 3, 5])
@pytest.mark.rare
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


@pytest.mark.rare
def test_a_plan_that_is_changed_after_scores_were_seen_is_named(
    runs: dict[str, list[RunFolder]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for rules in (RULES, RULES, replace(RULES, blocks=3)):
        assert not caplog.records
        Launcher(runs, tmp_path / "race").race(rules)
    assert "was planned with 4 blocks, and its scores have been seen; now it has 3" in caplog.text


@pytest.mark.parametrize("config", ["", "[", "{seed: {}, _target_: os.system}"])
def test_a_folder_that_cannot_be_read_does_not_stop_a_race(
    config: str, runs: dict[str, list[RunFolder]], tmp_path: Path
) -> None:
    RunFolder(tmp_path / "race" / "99").file("config.yaml").write_text(config)
    assert Launcher(runs, tmp_path / "race").race().chosen == "bottom:4"


def test_a_failed_job_costs_itself_and_is_tried_again(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    launcher = Launcher(runs, tmp_path / "race", failing=("bottom_1",))
    race = launcher.race()
    assert race.chosen == "bottom:4"
    assert launcher.launched[-3:] == ["none_3", "bottom_3", "all_3"]  # two blocks are few for two arms
    again = Launcher(runs, tmp_path / "race")
    assert again.race().chosen == "bottom:4"
    assert again.launched == ["bottom_1"]


@pytest.mark.rare
def test_a_run_without_the_score_costs_its_arm_that_block(
    runs: dict[str, list[RunFolder]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "race"
    race = Launcher(runs, root, unscored=("bottom_1",)).race()
    assert race == Launcher(runs, tmp_path / "other", failing=("bottom_1",)).race()
    assert [record.getMessage() for record in caplog.records] == [
        f"The race goes on without {root / '1'}, which has finished without a validation accuracy."
    ]
    again = Launcher(runs, root)
    assert again.race() == race
    assert not again.launched
    capsys.readouterr()
    (problem,) = compare(root, "accuracy", None, None, 0.03, mixed=True).problems
    assert problem["problem"].startswith("accuracy is not defined in validation")
    assert "Choose bottom:4" in capsys.readouterr().out


def test_each_arm_races_with_the_best_of_its_trials(
    runs: dict[str, list[RunFolder]],
    trials: dict[str, list[RunFolder]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = Launcher(runs, tmp_path / "plain").race()
    launcher = Launcher(runs | trials, root := tmp_path / "race")
    race = launcher.race()
    assert launcher.launched[:6] == [f"{arm} {rate}_1" for arm in TUNED for rate in RATES]
    assert launcher.settings == {"none": "optimizer.lr=2e-05", "bottom": "optimizer.lr=2e-05", "all": ""}
    assert list(race.tuning) == ["none", "bottom:4"]
    assert list(race.tuning["none"].values()) == sorted(race.tuning["none"].values(), key=float)
    assert race.tuning_seconds == race.seconds - plain.seconds == 180
    # They take time, but are no evidence.
    assert replace(race, tuning={}, tuning_seconds=0.0, seconds=plain.seconds) == plain
    assert read_race(root) == race
    capsys.readouterr()
    assert not compare(root, "accuracy", None, None, 0.03, mixed=True).problems
    shown = " ".join(capsys.readouterr().out.split())
    assert "are no evidence: none optimizer.lr=2e-05 (of 3), bottom:4 optimizer.lr=2e-05 (of 3)." in shown
    assert "88% of the 8 minutes that all 12 of them would take; 3 minutes of it went to trials" in shown
    assert len(json.loads((root / "comparison.json").read_text())["rows"]) == 3


@pytest.mark.parametrize("jobs", [1, 5, 6, 7])
@pytest.mark.slow
def test_a_race_that_is_interrupted_in_its_trials_goes_on(
    runs: dict[str, list[RunFolder]], trials: dict[str, list[RunFolder]], tmp_path: Path, jobs: int
) -> None:
    interrupted, again = (Launcher(runs | trials, tmp_path / "race", count) for count in (jobs, 99))
    with pytest.raises(KeyboardInterrupt):
        interrupted.race()
    race, whole = again.race(), Launcher(runs | trials, tmp_path / "whole")
    assert race == whole.race()
    assert [*interrupted.launched, *again.launched] == whole.launched


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "problem"), [("failing", "ValueError: out of luck"), ("unscored", "accuracy is not defined in validation")]
)
def test_a_failed_trial_is_out_for_good(
    how: str,
    problem: str,
    runs: dict[str, list[RunFolder]],
    trials: dict[str, list[RunFolder]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "race"
    launcher = Launcher(runs | trials, root, **{how: ("none 2e-05_1",)})
    race = launcher.race()
    assert launcher.settings["none"] == "optimizer.lr=0.0001"
    again = Launcher(runs | trials, root)  # in which it would not fail
    assert again.race() == race
    assert not again.launched
    assert len(compare(root, "accuracy", None, None, 0.03, mixed=True).problems) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "none optimizer.lr=0.0001 (of 3, 1 failed)" in shown
    assert problem in shown


@pytest.mark.slow
def test_an_arm_leaves_if_all_its_trials_fail(
    runs: dict[str, list[RunFolder]], trials: dict[str, list[RunFolder]], tmp_path: Path
) -> None:
    root, failing = tmp_path / "race", [f"none {rate}_1" for rate in RATES]
    launcher = Launcher(runs | trials, root, failing=failing)
    race = launcher.race()
    assert ("freeze=none", "failed") in [(one.arm, one.reason) for one in race.exits]
    assert race.tuning["freeze=none"] == dict.fromkeys(f"optimizer.lr={rate}" for rate in RATES)
    assert not [name for name in launcher.launched if name.startswith("none_")]
    assert race.chosen == "bottom:4"
    again = Launcher(runs | trials, root)
    assert "none" in again.race().arms
    assert again.launched[:3] == failing


def test_the_spread_of_targets_is_known_where_an_arm_has_no_jobs(tmp_path: Path) -> None:
    true = np.random.default_rng(0).normal(size=50)
    one = numbers(tmp_path, "none", 1, true, true + 0.1, 10.0)
    arms = {"bottom": [], "none": [config_hash(one.saved_config())]}
    assert recorded(arms, "mae", "time", tmp_path).spread == 2.0


@pytest.mark.rare
def test_trials_alone_are_no_race(
    runs: dict[str, list[RunFolder]], trials: dict[str, list[RunFolder]], tmp_path: Path
) -> None:
    failing = [*(f"{name}_1" for name in trials), "all_1"]
    assert Launcher(runs | trials, tmp_path / "race", failing=failing).race().end == "nothing finished"
    with pytest.raises(UserError, match="None of these runs has finished"):
        compare(tmp_path / "race", "accuracy", None, None, 0.03, mixed=True)


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
    with pytest.raises(UserError, match="cost must be time, by which this race has chosen who stays; got memory"):
        compare(root, "accuracy", None, None, 0.03, mixed=True, cost="memory")
    with pytest.raises(UserError, match=r"by must be null for the runs of a race, .*; got freeze"):
        compare(root, "accuracy", None, "freeze", 0.03, mixed=True)
    assert not compare(root, "accuracy", None, None, 0.03, mixed=True).problems
    shown = " ".join(capsys.readouterr().out.split())
    assert "Choose bottom:4 (25.0% of the weights train): test accuracy 0." in shown
    assert "it is the cheapest of those that are as good as the best, at most 0.0" in shown
    assert "after 2 of 4 seeds no other arm is left." in shown
    assert "Out: all after 2 seeds, 0.1" in shown
    assert "none after 2 seeds, no cheaper than bottom" in shown
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
    found = recorded(dict(zip(("one", "other"), arms, strict=True)), "accuracy", "parameters", tmp_path)
    assert (found.names, found.folds) == (["none", "all"], 3)
    assert {block: run.score for block, run in found.arms["all"].items()} == {0: 0.6, 1: 0.61}
    assert found.cost("all") == 10


def test_a_score_that_no_run_defines_is_one_message(tmp_path: Path) -> None:
    scores = {"accuracy": 0.8, "auroc": None, "loss": 0.5}  # of validation texts with one label
    finished(tmp_path, ("freeze=all",), 1, 0.8, metrics={"validation": scores, "test": scores})
    arms = {"all": [identity(RunFolder(tmp_path / "all_1"))]}
    with pytest.raises(UserError, match=r"in validation; auroc is not defined for .*all_1, nor .*\n.* accuracy"):
        recorded(arms, "auroc", "parameters", tmp_path)


def test_a_damaged_record_is_refused(runs: dict[str, list[RunFolder]], tmp_path: Path) -> None:
    root = tmp_path / "race"
    Launcher(runs, root).race()
    (root / "race.json").write_text("{")
    with pytest.raises(UserError, match=r"race\.json must be the course of a race; it cannot be read"):
        compare(root, "accuracy", None, None, 0.03, mixed=True)


@pytest.mark.slow
def test_a_small_race_from_the_command_line(multirun: Command, tmp_path: Path) -> None:
    rates = ("race.rates.default.lr=[1e-4]", "race.rates.all.head_lr=[1e-3,1e-2]")
    command = ("sweep=race", "freeze=none,embeddings,all", "race.margin=0.9", "race.cost=parameters", *rates)
    ended = multirun(*command)
    assert ended.returncode == 0, ended.stderr
    assert "Sweep: 2 of 17 jobs done" in ended.stdout
    assert "Race, 1 of 5 seeds: in the race" in ended.stdout
    race = read_race(tmp_path / "sweep")
    assert race is not None
    assert race.end is not None
    assert {arm: len(scores) for arm, scores in race.tuning.items()} == {"all": 2}
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
        (("race.metric=loss",), "race.metric must be a score, which all runs measure alike, and no loss; got loss"),
    ],
)
def test_a_race_that_cannot_answer_is_refused(multirun: Command, arguments: Sequence[str], message: str) -> None:
    ended = multirun("sweep=race", *arguments)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def arms_of(monkeypatch: pytest.MonkeyPatch, root: Path, *arguments: str) -> dict[str, Arm]:
    """Returns the arms of the race that a command would start, by what tells them apart."""
    found: list[Arm] = []
    monkeypatch.setattr(race_sweeper, "run_race", lambda arms, *others: found.extend(arms))
    monkeypatch.setenv(JOBS, "30 0.0")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweeper = race_sweeper.RaceSweeper()
        composed = (one for one in arguments if "race." in one or "sweep." in one)
        own = ["sweep=race", f"hydra.sweep.dir={root}", *composed]
        sweeper.config = compose("train", own, return_hydra_config=True)
        sweeper.params = dict(sweeper.config.hydra.sweeper.params)
        sweeper.hydra_context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
        sweeper.sweep(["sweep=race", *arguments])
        for arm in found:
            assert {job.overrides[-1] for job in arm.trials.values()} == {"race.trial=true"}
            list(map(arm.jobs, arm.trials))
        return {arm.name: arm for arm in found}


def test_a_race_chooses_among_all_of_its_arms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sweep\.by must be null in a race, .*; got freeze"):
        arms_of(monkeypatch, tmp_path, "sweep.by=freeze")


@pytest.mark.rare
def test_strategies_are_trained_as_suits_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arms = arms_of(monkeypatch, tmp_path, "freeze=bottom,all,gradual", "seed=1,2")
    assert list(arms["freeze=bottom"].trials) == ["optimizer.lr=2e-05", "optimizer.lr=5e-05", "optimizer.lr=0.0001"]
    assert len(arms["freeze=all"].trials) == 3
    overrides = ["freeze=all", "sweep=race", "trainer.max_epochs=50", name := "optimizer.head_lr=0.005"]
    assert arms["freeze=all"].trials[name].overrides == [*overrides, "seed=1000000", "race.trial=true"]
    assert [job.overrides for job in arms["freeze=all"].jobs(name)] == [[*overrides, f"seed={seed}"] for seed in "12"]
    assert "freeze.every=null" in arms["freeze=gradual"].jobs(name := "optimizer.lr=2e-05")[0].overrides
    assert os.environ[JOBS] == "39 0.0"


@pytest.mark.rare
def test_the_folds_of_a_repeat_follow_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folds = ("data.fold=range(0,2)", "data.folds=2", "data.repeat=0,1")
    arms = arms_of(monkeypatch, tmp_path, "freeze=none,all", *folds, "seed=1", "race.rates=null")
    blocks = [job.overrides[-3:] for job in next(iter(arms.values())).jobs("")]
    assert blocks == [["seed=1", f"data.repeat={repeat}", f"data.fold={fold}"] for repeat in (0, 1) for fold in (0, 1)]
    assert race_sweeper._repeats(blocks) == ["seed=1 data.repeat=0"] * 2 + ["seed=1 data.repeat=1"] * 2
    assert race_sweeper._repeats([["seed=1"], ["seed=2"]]) == []


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        (("race.rates=null",), [""]),
        pytest.param(("optimizer=sgd",), [""], marks=pytest.mark.slow),
        pytest.param(("optimizer.lr=3e-5,1e-4",), [""], marks=pytest.mark.slow),
        (("optimizer.head_lr=3e-5",), ["optimizer.lr=2e-05", "optimizer.lr=5e-05", "optimizer.lr=0.0001"]),
        pytest.param(("race.rates.default.lr=[1e-6]",), ["optimizer.lr=1e-06"], marks=pytest.mark.slow),
        (
            ("+race.rates.none={lr:[1e-6],head_lr:[1e-3,1e-2]}",),
            ["optimizer.lr=1e-06 optimizer.head_lr=0.001", "optimizer.lr=1e-06 optimizer.head_lr=0.01"],
        ),
    ],
)
def test_rates_that_are_given_are_kept(
    given: Sequence[str], settings: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arms = arms_of(monkeypatch, tmp_path, "freeze=none,bottom", "freeze.reinit_top=0", "seed=1,2,3", *given)
    assert list(next(iter(arms.values())).trials) == settings


@pytest.mark.slow
def test_trials_of_folds_are_of_the_first_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folds = ("data.folds=3", "data.fold=range(0,3)", "data.repeat=0,1", "seed=1")
    arms = arms_of(monkeypatch, tmp_path, "freeze=none,bottom", *folds)
    (trial, *_) = arms["freeze=none"].trials.values()
    assert {"data.fold=0", "data.repeat=0", "seed=1000000"} <= {*trial.overrides}
    assert len(arms["freeze=none"].jobs("optimizer.lr=2e-05")) == 6
