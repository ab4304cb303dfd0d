"""Compressed files are read in a stream; what is none, cut off, damaged or a bomb is refused."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from src.errors import UserError
from src.tables.lines import read_lines
from src.tables.tables import LAYOUT, read_table
from tests.conftest import refusal
from tests.tables.files import ROWS, csv, flipped, json_list, jsonl, put, zstandard

TSV = csv().replace(b",", b"\t")
PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard}


@pytest.mark.parametrize("ending", PACK)
def test_packed_texts_are_read(ending: str, tmp_path: Path) -> None:
    pack = PACK[ending]
    for kind, content in {"csv": csv(), "tsv": TSV, "jsonl": jsonl(), "CSV": csv(), "json": json_list()}.items():
        table = read_table(put(tmp_path / f"a.{kind}.{ending}", pack(content)))
        assert list(zip(*table.columns.values(), strict=True)) == ROWS
    table = read_table(put(tmp_path / f"a.txt.{ending}", pack(b"one\n") + pack(b"two\n")))
    assert table.columns == {"text": ["one", "two"]}


@pytest.mark.parametrize("ending", PACK)
def test_damaged_and_hostile_ones_are_refused(ending: str, tmp_path: Path) -> None:
    pack = PACK[ending]
    sound = pack(csv((f"text {i * i}", "yes") for i in range(1000)))
    damaged = {
        "cut": sound[:-20],
        "last byte": sound[:-1],
        "flipped": flipped(sound, 40),
        "plain": csv(),
        "behind it": sound + b"behind it",
    }
    for name, content in damaged.items():
        with pytest.raises(UserError, match=r"compressed with .*; it is cut off, damaged or a renamed file: "):
            read_table(put(tmp_path / f"{name}.csv.{ending}", content))
    bomb = put(tmp_path / f"bomb.csv.{ending}", pack(b"text,label\n" + b"a,b\n" * (1 << 22)))
    with pytest.raises(UserError, match=r"at most 200 times its size; .* to more than 13,107,200 bytes, like a zip b"):
        read_table(bomb)
    with pytest.raises(UserError, match="must hold a header and rows; it is empty"):
        read_table(put(tmp_path / f"empty.csv.{ending}", b""))
    for name in (f"a.xlsx.{ending}", f"a.parquet.{ending}", f"a.{ending}", "a.csv.bz2"):
        with pytest.raises(UserError, match=r"or a text file compressed as \.gz or \.zst; it ends with \.(gz|zst|bz2)"):
            read_table(put(tmp_path / name, b"x"))


def test_a_command_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = put(tmp_path / "a.csv.zst", zstandard(csv())[:-3])
    said = refusal("train", ["data=table", f"data.path={file}", f"run={tmp_path / 'run'}"], capsys)
    assert said == (
        f"{file} must be a file compressed with Zstandard; it is cut off, damaged or a renamed file: Truncated "
        "compressed stream.\nCompress it again.\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_never_in_memory_as_a_whole(ending: str, tmp_path: Path) -> None:
    line = b"%d " + b"words and more words " * 10 + b"\n"
    file = put(tmp_path / f"a.txt.{ending}", PACK[ending](b"".join(line % i for i in range(200_000))))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(file, LAYOUT)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 12 << 20  # of 43 MB
    finally:
        tracemalloc.stop()
