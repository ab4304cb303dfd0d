"""Generated tables and configs: each is read as it was written, or refused; nothing else ever happens."""

from __future__ import annotations

import contextlib
import csv
import gzip
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from openpyxl import Workbook
from openpyxl.utils.exceptions import IllegalCharacterError

from src.config.data import Data
from src.config.schema import RunConfig
from src.data import corpus
from src.errors import UserError
from src.models.checks import read_config
from src.tables.content import Layout
from src.tables.tables import Table, read_table
from tests.conftest import composed
from tests.tables import files

KINDS = ("csv", "tsv", "jsonl", "json", "xlsx", "parquet")
BOUNDED = settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CONFIG = composed("freeze=gradual")
VALUES: Any = OmegaConf.to_container(composed("data=table", "data.path=unset").data)

characters = st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\r\n\t\v\x1c\x85\u2028\ufeff\u202e,;|\"'= ")
words = st.text(characters, max_size=12) | st.sampled_from(
    ["NA", "null", "nan", "None", "1", "1.0", "01", "1e999", "_x0000_"]
)
headers = st.lists(
    st.sampled_from(["text", "label", "a b", "é", "1", "a,b", 'a"b', "a\tb", "שם"]), min_size=2, max_size=2, unique=True
)
scalars: Any = words | st.integers() | st.floats() | st.booleans() | st.none()
values: Any = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)


def write(path: Path, header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """As other programs would."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t").writerows([header, *rows])
    elif path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8", newline="") as file:
            for number, row in enumerate(rows):
                file.write(json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=number % 2 == 0) + "\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=len(rows) % 3))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(dict(zip(header, zip(*rows, strict=True), strict=True))), path)
    else:
        book = Workbook()
        for row in [header, *rows]:
            book.active.append(row)
        for cell in itertools.chain.from_iterable(book.active.iter_rows()):
            cell.data_type = "s"  # a text, though it may begin like a formula
        book.save(path)


def with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("kind", KINDS)
@BOUNDED
@given(header=headers, rows=st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_texts_are_read_as_they_were_written(
    kind: str, header: list[str], rows: list[tuple[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{kind}"
    try:
        write(path, header, rows)
    except IllegalCharacterError:
        assume(False)
    expected = [row for row in rows if kind != "xlsx" or any(row)]
    if kind not in ("jsonl", "json", "parquet"):  # these keep line ends
        expected = [(with_line_feeds(a), with_line_feeds(b)) for a, b in expected]
    if not expected or (kind in ("csv", "tsv") and any("\0" in text for row in rows for text in row)):
        with pytest.raises(UserError, match=r"must hold rows|zero bytes"):
            read_table(path)
    else:
        table = read_table(path, Layout(quoting="standard"))
        assert list(table.columns) == header
        assert list(zip(*table.columns.values(), strict=True)) == expected
        found = columns_or_message(path)
        if found != table.columns:
            # A text with tabs and line breaks may be several rows that nobody has quoted.
            assert "each of these lines could be a row" in found
            assert kind == "tsv"
            assert any("\t" in text and "\n" in text for row in expected for text in row)


def columns_or_message(path: Path) -> Any:
    try:
        return read_table(path).columns
    except UserError as error:
        return str(error)


@BOUNDED
@given(kinds=st.lists(values, min_size=1, max_size=4), texts=st.lists(values, max_size=2))
def test_whatever_json_holds_becomes_a_corpus_or_is_refused(kinds: list[Any], texts: list[Any], tmp_path: Path) -> None:
    rows = [(f"text {i}", kinds[i % len(kinds)]) for i in range(60)] + [(text, kinds[0]) for text in texts]
    write(tmp_path / "a.jsonl", ("text", "label"), rows)
    try:
        found = corpus.load(Data.model_validate({**VALUES, "path": str(tmp_path / "a.jsonl")}))
    except UserError:
        return
    assert all(isinstance(name, str) and name.strip() for name in found.space.names)
    seen: dict[str, Any] = {}
    for split in found.splits.values():
        for row, text, target in zip(split.rows, split.texts, split.targets, strict=True):
            given_text, label = rows[row - 1]
            assert text == str(given_text)
            np.testing.assert_array_equal(seen.setdefault(json.dumps(label), target), target)
    assert sum(len(split) for split in found.splits.values()) == len(rows)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json_list", "xlsx", "parquet", "arrow"])
@BOUNDED
@given(data=st.data())
def test_damaged_files_are_read_or_refused(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    name, content = f"a.{kind.removesuffix('_list')}", bytearray(getattr(files, kind)())
    for share in data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=4)):
        place = round(share * len(content))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content) if kind == "csv" else content)
    (tmp_path / f"{name}.zst").write_bytes(files.zstandard(content) if kind == "csv" else content)
    for path in (tmp_path / name, tmp_path / f"{name}.gz", tmp_path / f"{name}.zst"):
        with contextlib.suppress(UserError):
            assert isinstance(read_table(path), Table)


def keys(node: Any, prefix: str = "") -> list[str]:
    """The keys of a config and of its sections, dotted."""
    if not isinstance(node, DictConfig):
        return []
    return [found for key in node for found in (f"{prefix}{key}", *keys(node._get_node(key), f"{prefix}{key}."))]


references = st.sampled_from(["???", "${foo}", "${seed}", "${data.batch_size}", "src.freezing.Bottom", "os.system"])
changes = st.dictionaries(
    st.sampled_from([*keys(CONFIG), "foo", "data.foo"]), values | references, min_size=1, max_size=4
)


@BOUNDED
@given(changes=changes)
def test_a_config_is_valid_or_refused(changes: dict[str, Any]) -> None:
    cfg = CONFIG.copy()
    OmegaConf.set_struct(cfg, False)
    for key, value in changes.items():
        try:
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        except Exception:
            assume(False)
    with contextlib.suppress(UserError):
        config, strategy = read_config(cfg)
        assert isinstance(config, RunConfig)
        assert strategy.name
