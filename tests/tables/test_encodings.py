"""In which encoding a text file is read, and what is said of one that is not in it."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.data import corpus
from src.errors import UserError
from src.runs.folder import RunFolder
from src.tables.content import Layout
from src.tables.encodings import read_text
from src.tables.tables import read_table
from tests.conftest import refusal
from tests.tables.files import ROWS, csv, jsonl, put
from tests.tables.test_odd_input import settings

WESTERN = "text,label\n“Café”… 5 €,no\nÜber,yes\n"
RUSSIAN = "text,label\nФильм был хороший,да\nФильм был плохой,нет\n"
ENCODINGS: dict[str, tuple[str, str, str]] = {
    "cp1252": (WESTERN, "cp1252", "windows-1252"),
    "latin-1": ("text,label\ncafé,no\n", "latin-1", "windows-1252"),
    "utf-16-le": (WESTERN, "utf-16-le", "utf-16-le"),
    "utf-16-be": (WESTERN, "utf-16-be", "utf-16-be"),
    "plain utf-16-le": ("text,label\na,no\n", "utf-16-le", "utf-16-le"),
    "plain utf-16-be": ("text,label\na,no\n", "utf-16-be", "utf-16-be"),
    "russian utf-16-le": (RUSSIAN, "utf-16-le", "utf-16-le"),
    "chinese utf-16-be": ("text,label\n电影好看,好\n", "utf-16-be", "utf-16-be"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", ENCODINGS)
def test_the_advice_for_another_encoding_gives_back_the_text(case: str, packed: bool, tmp_path: Path) -> None:
    text, encoding, name = ENCODINGS[case]
    content = text.encode(encoding)
    file = put(tmp_path / f"a.csv{'.gz' if packed else ''}", gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=rf"UTF-8[;,](.*\n)+.*: data\.encoding={name}\.") as refused:
        corpus.load(settings(file))
    advised = re.search(r"data\.encoding=([\w-]+)", str(refused.value))
    assert advised
    assert "".join(read_text(file, Layout.of(settings(file, encoding=advised[1])))) == text


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r"])
def test_no_encoding_is_named_that_would_damage_the_text(encoding: str, tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", RUSSIAN.encode(encoding))
    with pytest.raises(UserError, match=r"or give its encoding, such as windows-1251 or gb18030: encoding=…"):
        read_table(file)
    assert "".join(read_text(file, Layout(encoding=encoding))) == RUSSIAN


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-32-be"])
@pytest.mark.parametrize("told", [None, "cp1252"])
def test_a_byte_order_mark_decides(
    encoding: str, told: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    mark = "\ufeff" if encoding.endswith("-be") else ""
    file = put(tmp_path / "a.csv", (mark + WESTERN).encode(encoding))
    for size in (1 << 20, 1, 2, 3, 5):
        monkeypatch.setattr("src.tables.opening.CHUNK", size)
        assert "".join(read_text(file, Layout(encoding=told))) == WESTERN
    assert ("read as UTF-" in caplog.text) == (encoding != "utf-8-sig")


def test_the_byte_and_the_line_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = csv().replace(b"\n", b"\r\n") + "é".encode() + b"\xe9,no\n"
    file, place = put(tmp_path / "a.csv", content), content.index(b"\xe9,")
    for size in (1 << 20, 1, 7):
        monkeypatch.setattr("src.tables.opening.CHUNK", size)
        with pytest.raises(UserError, match=rf"must be UTF-8; byte {place} on line 32 is not \(0xE9\)\."):
            read_table(file)
    monkeypatch.undo()
    wide = csv().decode().encode("utf-16-le") + "a\ud800b".encode("utf-16-le", "surrogatepass")
    file = put(tmp_path / "b.csv", wide)
    with pytest.raises(
        UserError, match=r"must be UTF-16-LE; byte \d+ on line 32 is not .*\n.*, such as encoding=utf-8"
    ):
        read_table(file, Layout(encoding="utf-16-le"))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "txt"])
def test_every_kind_of_text_file_has_an_encoding(kind: str, tmp_path: Path) -> None:
    contents = {"csv": WESTERN, "tsv": WESTERN.replace(",", "\t"), "jsonl": '{"text": "Über"}\n', "txt": "Über\n"}
    table = read_table(put(tmp_path / f"a.{kind}", contents[kind].encode("cp1252")), Layout(encoding="cp1252"))
    assert table.columns["text"][-1] == "Über"


@pytest.mark.parametrize("name", ["klingon", "base64", "3", "undefined", ""])
def test_other_names_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(
        "train", ["data=table", f"data.path={put(tmp_path / 'a.csv', csv())}", f"data.encoding={name}"], capsys
    )
    assert "data.encoding must be an encoding such as utf-8, windows-1252 or gb18030" in said


def test_a_training_and_a_prediction_read_an_encoding(
    run_tiny: Callable[..., tuple[RunFolder, dict[str, Any]]],
    said: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [(f"{text} é", label) for text, label in ROWS]
    file = put(tmp_path / "a.csv", csv(rows).decode().encode("cp1252"))
    folder, _ = run_tiny("model=bert_linear", "data=table", f"data.path={file}", "data.encoding=windows-1252")
    found = said(run=str(folder.path), input=str(file), encoding="windows-1252")
    assert [json.loads(line)["text"] for line in found.splitlines()] == [text for text, _ in rows]
    with pytest.raises(UserError, match=r"It can be read as windows-1252: encoding=windows-1252\."):
        said(run=str(folder.path), input=str(file))
    # What is UTF-8 is not read in the encoding of the training data.
    found = said(run=str(folder.path), input=str(put(tmp_path / "b.jsonl", jsonl(rows))))
    assert json.loads(found.splitlines()[0])["text"] == "text number 0 é"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(jsonl(rows))))
    assert json.loads(said(run=str(folder.path), input="-").splitlines()[0])["text"] == "text number 0 é"
