"""Folders of runs: whatever they are called, and one for each run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from src.cli import run_command
from src.config.folder import CONF
from src.config.quoting import quoted, quoted_path, shell_argument
from src.errors import UserError
from src.predict import Predictor
from src.runs import new_folder
from src.runs.find import find_run, runs_in
from src.runs.folder import RunFolder
from src.sweeps.folders import check_folders
from tests.conftest import REVIEWS, composed, refusal

NAMES = [
    "seed=1, lr=0.1",
    "a,b",
    "[x] {y} (z)",
    "cost $5",
    "it's",
    'say "so"',
    "back\\",
    '\\"',
    "ü # % ~ & ; * ?",
    "a: b",
]
# Gives every run the same time of day.
SAME_SECOND = """
import runpy, sys
import hydra._internal.hydra as loaded
from omegaconf import OmegaConf
real = loaded.setup_globals
def setup():
    real()
    OmegaConf.register_new_resolver("now", lambda pattern: "noon", use_cache=True, replace=True)
loaded.setup_globals = setup
runpy.run_module("src.train", run_name="__main__")
"""


@pytest.mark.parametrize("name", [*NAMES, "${oc.env:HOME}", "\\${x}", "null", "1", ""])
def test_a_quoted_value_is_read_as_it_is(name: str) -> None:
    for argument in (f"run={quoted(name)}", *shlex.split(shell_argument("run", name))):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            assert compose("train", [argument]).run == name


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a=1, b", "a=1, b"),
        ('"a=1"', "a=1"),
        ("'a=1'", "a=1"),
        ("x_${seed}", "x_42"),
        ("a b", "a b"),
        ("[a]", "[a]"),
        ("~/a=1", "/home/me/a=1"),
    ],
)
def test_the_folder_of_a_training_may_be_given_without_quotes(
    given: str, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OverridesParser.create().parse_override(f"run={quoted_path(given)}").value() is not None
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "argv", ["train", f"run={given}"])
    found = []

    def main() -> None:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            found.append(compose("train", sys.argv[1:]).run)

    run_command(main, "train", paths=("run",))
    assert found == [read]


def test_the_command_that_goes_on_with_a_run_names_it(tmp_path: Path) -> None:
    for name in NAMES:
        folder = RunFolder(tmp_path / name)
        *_, argument, resume = shlex.split(folder.resume_command)
        assert resume == "resume=true"
        with initialize_config_dir(str(CONF), version_base="1.3"):
            assert compose("train", [argument]).run == str(folder.path)


def test_a_name_that_is_replaced_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEWHERE", str(tmp_path / "elsewhere"))
    for name in ("a\\${b}", "a $SOMEWHERE", "a \\${SOMEWHERE}"):
        said = refusal("train", [f'run="{tmp_path}/{name}"'], capsys)
        assert "must not contain ${, an environment variable or ~" in said
        assert f"got {os.path.relpath(tmp_path)}/a" in said
    for sweep in (
        {"dir": str(tmp_path), "subdir": "a\\${b}"},
        {"dir": f"{tmp_path}/$SOMEWHERE", "subdir": "0"},
        {"dir": "~/sweep", "subdir": "0"},
    ):
        config = OmegaConf.create({"hydra": {"overrides": {"task": []}, "sweep": sweep}})
        with pytest.raises(UserError, match=r"must not contain .*, an environment variable or ~"):
            check_folders(config)
    sweep = {"dir": "a ${seed} $5", "subdir": "lr=${optimizer.lr}, ${hydra.job.num}"}
    check_folders(OmegaConf.create({"hydra": {"overrides": {"task": []}, "sweep": sweep}}))
    assert not list(tmp_path.iterdir())


def test_runs_are_found_however_deep_and_their_halves_are_not(tmp_path: Path) -> None:
    for place in ("0", "lr=1/data/x", "0/pretrain", "lr=1/data/x/pretrain"):
        RunFolder(tmp_path / place).claim(composed())
    assert [folder.path for folder in runs_in(tmp_path)] == [tmp_path / "0", tmp_path / "lr=1" / "data" / "x"]


def test_each_run_of_a_second_gets_a_folder(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "12-00-00_bottom_2")
    found = [new_folder.reserved(first) for _ in range(3)]
    assert [folder.name for folder in found] == [first.name, f"{first.name}_2", f"{first.name}_3"]
    found[1].discard_if_empty()  # it was refused
    assert new_folder.reserved(first).path == found[1].path
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_runs_that_begin_in_the_same_second_both_finish(tmp_path: Path, tiny_bert: Path) -> None:
    options = ["model=bert_linear", f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32"]
    options += ["trainer.max_epochs=1", "callbacks.progress=null", f"data.path={REVIEWS}"]
    devices = [["trainer=cpu"], ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]]
    (tmp_path / "same_second.py").write_text(SAME_SECOND)
    command = [sys.executable, "same_second.py", *options]
    started = [
        subprocess.Popen(
            [*command, *given], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CONF.parent)}, stdout=-3, stderr=-1
        )
        for given in devices
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    found = runs_in(tmp_path / "outputs")
    assert [folder.name for folder in found] == ["noon_bert_linear_all", "noon_bert_linear_all_2"]
    assert sorted(folder.read_result()["environment"]["devices"] for folder in found) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subdir", "place"),
    [
        ("""'"it\\'s" [$x], lr=${optimizer.layer_decay}, seed=${seed}'""", """"it's" [$x], lr=1.0, seed=1"""),
        ("${hydra.job.override_dirname}", None),
    ],
)
def test_jobs_may_be_called_anything(
    subdir: str, place: str | None, tmp_path: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "s=1, [a] 'b'"
    options = ["model=bert_linear", f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "trainer=cpu"]
    options += ["trainer.max_epochs=1", "callbacks.progress=null", f"cache={tmp_path}", "seed=1,2"]
    folders = [f"hydra.sweep.dir={quoted(str(root))}", f"hydra.sweep.subdir={subdir}"]
    command = [sys.executable, "-m", "src.train", "-m", *options, *folders]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "Sweep: 2 of 2 jobs done, 0 failed, 0 running\n" in ended.stdout
    assert (root / "comparison.json").exists()
    found = {int(folder.saved_config().seed): folder for folder in runs_in(root)}
    assert sorted(found) == [1, 2]
    if place:
        assert found[1].path == root / place
    assert find_run("best", str(root)).path in {folder.path for folder in found.values()}
    assert Predictor.load(found[1].path).probabilities(["good"]).shape == (1, 3)
    GlobalHydra.instance().clear()
    assert "is finished." in refusal("train", [f"run={found[1].path}", "resume=true"], capsys)
    again = subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False, timeout=300)
    assert again.stdout.count("has already finished") == 2
