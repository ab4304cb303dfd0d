"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from src.errors import UserError
from src.files.atomic import write_atomic
from src.pages.html import save
from src.runs.folder import RunFolder
from tests.conftest import composed


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Lets no file grow beyond so many bytes, as a full disk does."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def drawn(title: str) -> Figure:
    figure = Figure()
    figure.subplots().set_title(title)
    return figure


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_figure_without_room_leaves_the_one_before(tmp_path: Path) -> None:
    save(drawn("before"), tmp_path, "figure")
    before = content(tmp_path)
    assert {*before} == {"figure.png", "figure.svg"}
    with room_for(len(before["figure.png"]) // 2), pytest.raises(OSError, match="too large"):
        save(drawn("after"), tmp_path, "figure")
    assert content(tmp_path) == before
    save(drawn("after"), tmp_path, "figure")
    after = content(tmp_path)
    assert all(after[name] != before[name] for name in before)


def test_text_and_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomic(tmp_path / "text", "é\r\n\n")
    write_atomic(tmp_path / "bytes", b"\r\n\n")
    assert content(tmp_path) == {"text": "é\r\n\n".encode(), "bytes": b"\r\n\n"}


def test_a_run_that_finds_no_room_for_its_config_has_not_claimed_its_folder(tmp_path: Path) -> None:
    run, config = RunFolder(tmp_path / "run"), composed()
    with room_for(100), pytest.raises(UserError, match="cannot be written: File too large"):
        run.claim(config)
    assert not content(run.path)
    run.claim(config)
    assert [*content(run.path)] == ["config.yaml"]
