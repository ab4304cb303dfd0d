"""The page on parts of one's own does what it says: its files are written as they stand there, its commands run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from src.config.folder import CONF
from src.runs.folder import RunFolder

PAGE = (CONF.parent / "docs" / "own_parts.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+)`[^\n]*\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)).splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, content in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_a_folder_with_its_files(folder: Path, tiny_bert: Path) -> None:
    small = [f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "trainer=cpu", "trainer.max_epochs=1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", str(CONF.parent)])}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        _, *arguments = shlex.split(command)
        more = small if "src.train" in arguments and "resume=true" not in arguments else []
        whole = [sys.executable, *arguments, *more]
        return subprocess.run(whole, capture_output=True, text=True, cwd=folder, env=environment, check=False)

    first, second, sweep, export, predict, resume, compare = COMMANDS
    for command in (first, second):
        ended = run(command)
        assert ended.returncode == 0, ended.stderr
    assert RunFolder(folder / "outputs/runs/first").read_result()["strategy"] == "every_second:2"
    lines = folder / "outputs/runs/second/lines.jsonl"
    assert lines.read_text().count('"head_norm"') == 1

    ended = run(compare)  # before anything is trusted
    assert ended.returncode == 0, ended.stderr
    assert "every_second:2" in ended.stdout
    network = {"EverySecond", "MaxHead"}
    for command, named in ((predict, network), (resume, network | {"HeadNorm", "Lines"})):
        ended = run(command)
        assert ended.returncode == 2
        assert set(re.findall(r"my_parts\.(\w+)", ended.stderr)) == named

    name, _, value = export.removeprefix("export ").partition("=")
    environment[name] = value
    ended = run(predict)
    assert ended.returncode == 0, ended.stderr
    assert "negative" in ended.stdout
    ended = run(resume.replace("max_epochs=20", "max_epochs=2"))
    assert ended.returncode == 0, ended.stderr
    assert lines.read_text().count('"head_norm"') == 2

    del environment[name]
    ended = run(sweep)  # which trusts what it names itself
    assert ended.returncode == 0, ended.stderr
    assert "every_second:2" in ended.stdout


def test_the_page_names_the_files_that_its_commands_need() -> None:
    files = ("freeze/every_second", "callbacks/head_norm", "logger/lines", "model/max")
    assert {*FILES} == {"my_parts.py", *(f"my_conf/{name}.yaml" for name in files)}
