"""Mistakes that all jobs of a multirun share, and values that none can have: told before the first job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from src.config.folder import CONF
from src.errors import UserError
from src.runs.folder import RunFolder
from src.sweeps import mistakes
from tests.conftest import composed, refusal

SHARED = {
    "task": (("sweep=race", "race.metric=mcc", "data.task=regression"), "race.metric must be a score of this task"),
    "classes": (("sweep=race", "race.metric=pearson"), "race.metric must be a score of this task; got pearson"),
    "label": (("sweep=race", "race.metric=f1/postive"), "Did you mean f1/positive?"),
    "fold": (("data.folds=5,10",), "data needs data.fold, the number of the fold that is the test split"),
    "column": (("seed=1,2", "data.text=nope"), "data.text must name a column of"),
}


@pytest.mark.parametrize(("arguments", "message"), SHARED.values(), ids=SHARED)
def test_a_mistake_that_all_jobs_share_is_told_once(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refusal("train", ["-m", *arguments, f"hydra.sweep.dir={tmp_path / 'sweep'}"], capsys)
    assert said.count(message) == 1
    assert len(said.strip().splitlines()) == 2
    assert not (tmp_path / "sweep").exists()


def check(root: Path, *given: str) -> None:
    """Checks the jobs of a multirun of the included reviews, as its command would."""
    own = [f"hydra.sweep.dir={root}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", [*own, *given], run_mode=RunMode.MULTIRUN)
        parsed = OverridesParser.create(loader).parse_overrides([one for one in given if "launcher" not in one])
        mistakes.refuse_mistakes(config, parsed, loader)


VALUES = {
    "type": (("optimizer.lr=1e-3,abc",), ["optimizer.lr has an invalid value: 'abc'", "No job with optimizer.lr=abc"]),
    "range": (("freeze=bottom", "freeze.layers=2,99"), ["must lie in 0..6", "No job with freeze.layers=99"]),
    "column": (("data.text=text,nope",), ["data.text must name a column of", "No job with data.text=nope could"]),
    "race": (("sweep=race", "freeze=all,none", "seed=1,a"), ["seed has an invalid value: 'a'"]),
    "fold": (("sweep=cross_validation", "freeze=all", "data.repeat=0", "data.fold=0,7"), ["with data.folds=5; got 7"]),
    "elsewhere": (("seed=1,a", "hydra/launcher=ray"), ["seed has an invalid value: 'a'"]),
    "option": (("freeze=none,botom",), ["freeze has no option 'botom'.\nDid you mean bottom?"]),
}


@pytest.mark.parametrize(("arguments", "messages"), VALUES.values(), ids=VALUES)
def test_a_value_that_no_job_can_have_is_told_before_the_first(
    arguments: Sequence[str], messages: Sequence[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refusal("train", ["-m", *arguments, f"hydra.sweep.dir={tmp_path / 'sweep'}"], capsys)
    assert all(said.count(message) == 1 for message in messages), said
    assert not (tmp_path / "sweep").exists()


@pytest.mark.rare
def test_the_choices_of_a_search_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    search = ["sweep=search", "optimizer.lr=interval(0, 1)", "seed=choice(1,a)"]
    said = refusal("train", [*search, f"hydra.sweep.dir={tmp_path / 'sweep'}"], capsys)
    assert said.endswith("\nNo job with seed=a could start. Without it, others could.\n")


def checked(monkeypatch: pytest.MonkeyPatch, given: Sequence[str], problem: Callable[..., str | None]) -> int:
    """Checks jobs by a rule; returns how many.

    Args:
        monkeypatch: of the test.
        given: the overrides.
        problem: why a job could not start, from its values; None if it could.
    """
    jobs: list[Sequence[str]] = []

    class ByRule:
        def __init__(self, config: object, loader: object) -> None:
            pass

        def problem(self, job: Sequence[str]) -> str | None:
            jobs.append(job)
            return problem(**dict(one.split("=") for one in job))

    monkeypatch.setattr(mistakes, "Checker", ByRule)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "/nowhere"}}})
    mistakes.refuse_mistakes(config, OverridesParser.create().parse_overrides([*given]), None)
    return len(jobs)


def test_each_value_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("a=range(0,20)", "b=range(0,20)", "c=x,y", "d=1")
    assert checked(monkeypatch, given, lambda **_: None) == 20 + 20 + 2 + 1 - 3
    with pytest.raises(UserError, match=r"^no a.\nNo job with a=7 or a=9 could start\. Without them, others could\.$"):
        checked(monkeypatch, given, lambda a, **_: "no a." if a in "79" else None)


def test_combinations_are_never_all_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tuple(f"{key}=range(0,200)" for key in "abcdefg")
    assert checked(monkeypatch, given, lambda **_: None) == 7 * 199 + 1


def test_a_value_that_goes_with_some_of_the_others_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("a=0,1,2,0", "b=0,1,2,0", "c=0,1")
    checked(monkeypatch, given, lambda a, c, **_: None if a == "1" or c == "0" else "c must be 0")
    checked(monkeypatch, given, lambda a, b, c: None if a == b == "1" or c == "0" else f"with {a} c must be 0")
    with pytest.raises(UserError, match="No job with c=1 could start"):
        checked(monkeypatch, given, lambda a, b, c: None if c == "0" else f"with {a} c must be 0")


def test_a_multirun_begins_if_each_value_has_a_job(tmp_path: Path) -> None:
    check(tmp_path, "data.folds=3,5", "data.fold=0,4")
    with pytest.raises(UserError, match=r"freeze\.layers must lie in 0\.\.6 for this backbone .*; got 8"):
        check(tmp_path, "freeze=bottom", "freeze.layers=8,9")
    with pytest.raises(UserError, match=r"optimizer\.lr has an invalid value: -2\.0"):
        check(tmp_path, "optimizer.lr=interval(-2, -1)")
    check(tmp_path, "optimizer.lr=interval(0, 1)")


def test_a_race_of_pretrained_classifiers_is_by_a_score_of_theirs(tmp_path: Path) -> None:
    check(tmp_path, "sweep=race", "race.metric=f1_macro", "experiment=mlm_then_classify")


def test_data_of_jobs_that_run_elsewhere_is_not_read_here(tmp_path: Path) -> None:
    elsewhere = ("data.path=/elsewhere.csv", "hydra/launcher=ray")
    check(tmp_path, *elsewhere)
    with pytest.raises(UserError, match=r"monitor\.metric must be validation/ and a score"):
        check(tmp_path, *elsewhere, "monitor.metric=validation/pearson")
    with pytest.raises(UserError, match=r"data\.path must be a file or folder that can be read"):
        check(tmp_path, elsewhere[0])


def test_a_multirun_of_which_jobs_have_finished_needs_no_data(tmp_path: Path) -> None:
    RunFolder(tmp_path / "0").claim(composed())
    RunFolder(tmp_path / "0").write_status("finished")
    check(tmp_path, "data.path=/gone.csv")
