"""Mistakes that all jobs of a multirun share: told once, before the first job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from src.config.folder import CONF
from src.errors import UserError
from src.runs.folder import RunFolder
from src.sweeps.checking import refuse_shared_mistakes
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
        refuse_shared_mistakes(config, parsed, loader)


def test_a_multirun_begins_if_one_job_can(tmp_path: Path) -> None:
    check(tmp_path, "freeze=bottom", "freeze.layers=8,2,9")
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
