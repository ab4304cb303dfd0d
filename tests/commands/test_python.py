"""The package `thaw`: training, comparing and advising from Python, with data in memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest
from hydra.core.hydra_config import HydraConfig

import thaw
from src import train as training
from src.config.folder import CONF
from src.runs.folder import RunFolder
from thaw import __main__ as command
from thaw._config import kept

SMALL = ("model=bert_linear", "trainer.max_epochs=1", "data.max_length=32", "data.limit=60", "callbacks.progress=null")

FRAME = pandas.DataFrame({"text": ["a", "b"], "label": [0, 1]})


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pandas.DataFrame:
    """The reviews, in a folder where runs may be written."""
    monkeypatch.chdir(tmp_path)
    return pandas.read_csv(CONF.parent / "src" / "data" / "reviews.csv").rename(columns={"sentiment": "label"})


@pytest.fixture
def backbone(tiny_bert: Path) -> str:
    return f"backbone.name={tiny_bert}"


def test_runs_of_one_process_are_trained_compared_and_used(frame: pandas.DataFrame, backbone: str) -> None:
    runs = [thaw.train(*SMALL, backbone, f"freeze={freeze}", data=frame) for freeze in ("all", "none")]
    assert [run.strategy for run in runs] == ["all", "none"]
    assert runs[0].folder != runs[1].folder
    assert 0 <= runs[0].scores["accuracy"] <= 1
    assert runs[1].validation_scores["loss"] > 0
    ((label, probability), *_) = runs[1].predictor()(["Good camera."])[0]
    assert label in {"negative", "neutral", "positive"}
    assert 0 < probability <= 1
    assert runs[0].predictions().num_rows == len(runs[0].predictions("test")["text"])
    assert thaw.Run.load(runs[0].folder) == runs[0]
    found = thaw.compare("outputs/runs")
    assert {row.name for row in found.rows} == {"all", "none"}
    assert (Path("outputs/runs") / "compare.html").exists()


def test_a_run_is_called_as_by_the_command_line(
    frame: pandas.DataFrame, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "train", lambda cfg, place, given: {})
    runs = [thaw.train(*SMALL, backbone, "freeze=bottom", data=frame) for _ in range(2)]
    assert all(re.fullmatch(r"[\d-]{10}_[\d-]{8}_bert_linear_bottom(_2)?", run.folder.name) for run in runs)
    assert {run.folder.parent for run in runs} == {Path("outputs/runs")}
    assert thaw.train(*SMALL, "run=a folder/b=c", data=frame).folder == Path("a folder/b=c")
    assert thaw.train(*SMALL, data=frame, folder="named").folder == Path("named")
    assert not HydraConfig.initialized()


def test_a_run_is_in_one_folder_whatever_its_name(
    frame: pandas.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "train", lambda cfg, place, given: {"run": cfg.run})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert thaw.train(*SMALL, folder="~/x") == thaw.Run(tmp_path / "home" / "x", {"run": str(tmp_path / "home" / "x")})
    for folder in ("$HOME/x", "a${b}"):
        with pytest.raises(thaw.UserError, match=r"must not contain .*, an environment variable or ~"):
            thaw.train(*SMALL, folder=folder)
    for load in (thaw.Run.load, thaw.Predictor.load):
        with pytest.raises(thaw.UserError, match=f"^{tmp_path}/home/x must be the folder"):
            load("~/x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margin": 5}, "^margin must be less than 1, unless metric is .*; got 5"),
        ({"cost": "speed"}, "^cost has an invalid value: 'speed'"),
        ({}, r"^runs must be a folder .*; /\S+/home/runs does not exist"),
    ],
)
def test_a_comparison_refuses_what_the_command_refuses(
    given: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(thaw.UserError, match=message):
        thaw.compare("~/runs", **given)


def test_predictions_of_an_unknown_split_name_the_known_ones(finished: RunFolder) -> None:
    run = thaw.Run.load(finished.path)
    with pytest.raises(thaw.UserError, match=r"has predictions for; got 'tset'\.\nDid you mean test\?"):
        run.predictions("tset")
    with pytest.raises(thaw.UserError, match=r"got 'train'\.\nThere are: test, validation\."):
        run.predictions("train")
    with pytest.raises(thaw.UserError, match="Classifiers and regressions have them"):
        thaw.Run(finished.path / "report", run.result).predictions()


@pytest.mark.rare
def test_a_resumed_run_heeds_its_overrides(frame: pandas.DataFrame, backbone: str) -> None:
    run = thaw.train(*SMALL, backbone, "freeze=all", data=frame)
    with pytest.raises(thaw.UserError, match="is finished"):
        thaw.train("resume=true", folder=run.folder)
    with pytest.raises(thaw.UserError, match=r"keeps its config, .*; got freeze=none"):
        thaw.train("resume=true", "freeze=none", "trainer.max_epochs=2", folder=run.folder)
    with pytest.raises(thaw.UserError, match=r"keeps its config, .*; got data\.path="):
        thaw.train("resume=true", data=frame.head(50), folder=run.folder)
    longer = thaw.train("resume=true", "trainer.max_epochs=2", folder=run.folder)
    assert len(longer.result["history"]) == 2


def test_values_without_effect_are_named(
    frame: pandas.DataFrame, backbone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    thaw.train(*SMALL, backbone, "freeze=all", "data.repeat=0", data=frame)
    assert "data.repeat has no effect: with data.folds=null" in capsys.readouterr().out


def test_the_same_data_is_kept_once_whatever_holds_it(frame: pandas.DataFrame) -> None:
    first = kept(frame)
    assert kept(frame.copy()) == first
    assert kept(frame.head(9)) != first
    assert kept({"train": datasets.Dataset.from_pandas(frame)}).is_dir()
    assert {path.name for path in kept({"train": frame, "test": frame.head(9)}).iterdir()} == {
        "train.parquet",
        "test.parquet",
    }
    assert all(path.is_dir() and list(path.iterdir()) for path in first.parent.iterdir())  # nothing unfinished
    assert first.stat().st_mode == first.parent.stat().st_mode  # for whoever may read the runs


def test_classes_of_a_dataset_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    classes = datasets.ClassLabel(names=["bad", "good"])
    features = {"text": datasets.Value("string"), "label": classes, "all": datasets.List(classes)}
    columns = {"text": ["a", "b", "c"], "label": [1, 0, -1], "all": [[1, 0], [], [1]]}  # -1: it is not known
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    expected = {"label": ["good", "bad", None], "all": [["good", "bad"], [], ["good"]]}
    for given in (rows, rows.with_format("numpy")):
        found = pandas.read_parquet(kept(given) / "train.parquet")
        assert found["label"].astype(object).where(found["label"].notna(), None).tolist() == expected["label"]
        assert [[*labels] for labels in found["all"]] == expected["all"]


def test_data_that_another_process_keeps_meanwhile_is_used(
    frame: pandas.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def late(path: Path, target: Path) -> Path:
        shutil.copytree(path, target)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert [file.name for file in kept(frame).iterdir()] == ["train.parquet"]


@pytest.mark.parametrize(
    ("overrides", "data", "message"),
    [
        (("fre=all",), None, r"^fre is not a key of this config\.\nDid you mean freeze\?$"),
        (("freeze=botom",), None, r"^freeze has no option 'botom'\.\nDid you mean bottom\?$"),
        (("freeze=[all,none]",), None, r"^freeze must be one of its options; got \[all,none\]"),
        (("freeze=all,none",), None, r"^A run has one value of each key; got freeze=all,none\."),
        (("data.batch_sise=3", "optimizer.lrr=2"), None, r"(?s)mean data\.batch_size\?.*mean optimizer\.lr\?$"),
        (("run=${oops}",), None, "^run refers to a key that does not exist: .*'oops' not found"),
        (("run=a${oops",), None, r"^A reference must be \$\{KEY\}, .*; got run=a\$\{oops\.\n"),
        ((["freeze=all"],), None, r"must be a text of its own; got \['freeze=all'\]\.\nWrite them one by one"),
        ((), 3, "data must be a DataFrame, a Dataset, or a mapping of such by split; got int"),
        ((), {"train": FRAME, "testt": FRAME}, r"data must name its splits: .*; got 'testt'\.\nDid you mean test\?"),
        ((), {"train": FRAME, "a/b": FRAME}, r"got 'a/b'\.\nThere are: test, train, validation\. For example: data="),
        ((), {"test": FRAME}, r"data must name its splits: train, .*; got 'test'\.\nFor example: "),
        ((), {}, "got none"),
        ((), pandas.DataFrame({"text": ["a", "b"], "label": [1, "x"]}), "train cannot be written: .* column label"),
        ((), pandas.DataFrame({"text": ["a"], "id": [2**70]}), "train cannot be written: .* too "),
        (("data=table", "data.path=nowhere.csv"), None, "No such file"),
    ],
)
def test_mistakes_are_one_message(
    overrides: tuple[Any, ...], data: object, message: str, frame: pandas.DataFrame
) -> None:
    with pytest.raises(thaw.UserError, match=message):
        thaw.train(*overrides, data=data)
    assert not list(Path("outputs/runs").glob("*"))


def test_splits_that_have_no_known_name_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(thaw.UserError, match="Did you mean test"):
        thaw.train(data={"train": FRAME, "testt": FRAME})
    assert not list(tmp_path.iterdir())


def test_other_splits_of_a_dataset_of_the_hub_are_no_mistake(frame: pandas.DataFrame) -> None:
    rows = datasets.Dataset.from_pandas(FRAME)
    found = kept(datasets.DatasetDict({"train": rows, "unsupervised": rows}))
    assert (found / "train.parquet").is_file()


def test_advice_without_a_command(frame: pandas.DataFrame, backbone: str) -> None:
    advice = thaw.advise("data.max_length=32", backbone, data=frame)
    assert advice.metric == "accuracy"
    assert not Path("outputs/runs").exists()


def test_the_command_takes_the_name_of_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["thaw", "tain"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "thaw must be followed by one of train, plan," in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["thaw"])
    command.main()
    assert "thaw {train,plan,advise," in capsys.readouterr().out


def test_the_version_is_that_of_the_source(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "__version__", "of the source")  # whether or not it is installed
    monkeypatch.setattr(sys, "argv", ["thaw", "--version"])
    command.main()
    assert capsys.readouterr().out == "of the source\n"


def test_another_package_src_is_named(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    for flags, code in (((), 1), (("-P",), 0)):
        ended = subprocess.run(
            [sys.executable, *flags, "-c", "import thaw"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == code, ended.stderr
        assert ("thaw needs the package src that it was installed with" in ended.stderr) is bool(code)
