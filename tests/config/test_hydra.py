"""What Hydra itself brings: completion, information, the working directory, and quoting."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from src.config import overrides
from src.config.folder import CONF
from tests.conftest import composed, main, refusal


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("thaw ", "train plan advise compare predict explain export activations"),
        ("thaw ex", "explain export"),
        ("thaw train freeze=bo", "freeze=bottom freeze=bottom_2"),
        ("thaw compare metr", "metric="),
        ("thaw activations ", ""),
        ("thaw tain freeze=bo", ""),
    ],
)
def test_a_shell_completes_the_command_and_what_it_takes(line: str, offered: str) -> None:
    assert _answer("query=bash", COMP_LINE=line).strip() == offered


def test_completion_is_installed_for_the_command() -> None:
    assert _answer("install=bash").endswith("-F hydra_bash_completion thaw\n")


def _answer(question: str, **environment: str) -> str:
    """What `thaw` prints for a shell; Hydra's completion needs a process of its own."""
    command = [sys.executable, "-m", "thaw", "-sc", question]
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert not ended.stderr
    return ended.stdout


def test_information_is_that_of_hydra(capsys: pytest.CaptureFixture[str]) -> None:
    main("train", ["--info", "searchpath"])
    assert f"file://{CONF}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train", "plan", "predict"])
def test_the_working_directory_stays(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hydra.job.chdir must be false; got ++hydra.job.chdir=True." in refusal(
        name, ["++hydra.job.chdir=True"], capsys
    )


@pytest.mark.parametrize("kind", ["sweeper", "launcher"])
def test_what_is_not_installed_is_named(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(overrides.PLUGINS, f"hydra/{kind}/elsewhere", "hydra-elsewhere")
    wanted = f"hydra/{kind}=elsewhere needs hydra-elsewhere, which is not installed.\npip install -e '.[sweeps]'\n"
    assert refusal("train", ["-m", f"hydra/{kind}=elsewhere"], capsys) == wanted
    wanted = f"hydra/{kind} has no option 'basik'.\nDid you mean basic?\n"
    assert refusal("train", ["-m", f"hydra/{kind}=basik"], capsys) == wanted


def test_a_path_in_quotes_may_have_any_characters(capsys: pytest.CaptureFixture[str]) -> None:
    odd = "no such folder/a=b, {c} (2) #$x.csv"
    said = refusal("train", ["data=table", f'data.path="{odd}"'], capsys)
    assert f"{odd}: No such file" in said
    assert composed("data=table", f'data.path="{odd}"').data.path == odd
