"""Files with typed columns: Parquet, Arrow and Feather; what becomes of typed labels."""

from __future__ import annotations

import datetime
import decimal
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.feather
import pytest

from src.data import corpus
from src.errors import UserError
from src.tables.tables import read_table
from tests.tables.files import ROWS, TABLE, arrow, parquet, put
from tests.tables.test_odd_input import settings

FRAME = pandas.DataFrame(ROWS, columns=["text", "label"])


def feather(compression: str) -> bytes:
    sink = io.BytesIO()
    pyarrow.feather.write_feather(TABLE, sink, compression=compression)
    return sink.getvalue()


def outside() -> bytes:
    """Texts whose ends lie behind the end of the file."""
    offsets = np.array([2**30 + i for i in range(31)], dtype=np.int32).tobytes()
    return arrow(pyarrow.table({"text": ["x"] * 30})).replace(np.arange(8, dtype=np.int32).tobytes(), offsets[:32])


READ: dict[str, tuple[str, Callable[[], bytes]]] = {
    "file": ("a.arrow", arrow),
    "stream, as datasets": ("a.arrow", lambda: arrow(stream=True)),
    "feather": ("a.feather", lambda: feather("lz4")),
    "packed feather": ("a.FEATHER", lambda: feather("zstd")),
}


@pytest.mark.parametrize("case", READ)
def test_arrow_files_are_read(case: str, tmp_path: Path) -> None:
    name, content = READ[case]
    table = read_table(put(tmp_path / name, content()))
    assert list(zip(*table.columns.values(), strict=True)) == ROWS
    assert (table.rows, table.unit) == (list(range(1, 31)), "row")


@pytest.mark.parametrize("content", [b"x" * 100, arrow()[:-30], arrow(stream=True)[:-200], outside()])
def test_damaged_ones_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.arrow must be an Arrow file; it cannot be read: .*\n.* as \.jsonl"):
        read_table(put(tmp_path / "a.arrow", content))


def typed(*values: Any, kind: Any = None) -> pyarrow.Array:
    return pyarrow.array([values[i % len(values)] for i in range(len(ROWS))], kind)


def categories(*values: Any, **options: Any) -> pyarrow.Array:
    column = pandas.Categorical([values[i % len(values)] for i in range(len(ROWS))], **options)
    return pyarrow.Array.from_pandas(column)


DAY = datetime.date(2026, 1, 2)
LABELS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "categories": (categories("b", "a"), ("a", "b")),
    "ordered categories, one without rows": (
        categories("low", "high", categories=["low", "mid", "high"], ordered=True),
        ("high", "low"),
    ),
    "numbers as categories": (categories(2, 10), ("2", "10")),
    "fractions as categories": (categories(1.5, 2.0), ("1.5", "2")),
    "truth as categories": (categories(True, False), ("False", "True")),
    "dictionary": (typed("b", "a").dictionary_encode(), ("a", "b")),
    "truth": (typed(True, False), ("False", "True")),
    "whole floats": (typed(0.0, 1.0, 2.0), ("0", "1", "2")),
    "32 bits": (typed(0.0, 1.0, kind=pyarrow.float32()), ("0", "1")),
    "16 bits": (pyarrow.array(np.array([0, 1] * 15, dtype=np.float16)), ("0", "1")),
    "bytes": (typed(0, 255, kind=pyarrow.uint8()), ("0", "255")),
    "large numbers": (typed(2**63, 2**63 + 1, kind=pyarrow.uint64()), (str(2**63), str(2**63 + 1))),
    "decimals": (typed(decimal.Decimal("1.50"), decimal.Decimal("2.00")), ("1.5", "2")),
    "days": (typed(DAY, DAY + datetime.timedelta(1)), ("2026-01-02", "2026-01-03")),
    "large strings": (typed("b", "a", kind=pyarrow.large_string()), ("a", "b")),
    "views of strings": (typed("b", "a", kind=pyarrow.string_view()), ("a", "b")),
    "lists of categories": (typed(["a"], ["b", "c"], kind=pyarrow.list_(pyarrow.string())), ("a", "b", "c")),
}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize("case", LABELS)
def test_typed_labels_have_sensible_names(case: str, kind: str, tmp_path: Path) -> None:
    values, names = LABELS[case]
    if kind == "parquet" and case == "views of strings":
        values = values.cast(pyarrow.string())
    content = parquet(label=values) if kind == "parquet" else arrow(TABLE.set_column(1, "label", values))
    found = corpus.load(settings(put(tmp_path / f"a.{kind}", content)))
    assert found.space.names == names
    given = dict(zip((text for text, _ in ROWS), values.to_pylist(), strict=True))
    for split in found.splits.values():
        for text, target in zip(split.texts, split.targets, strict=True):
            label = given[text]
            if isinstance(label, list):
                assert [names[i] for i in np.flatnonzero(target)] == label
            else:
                assert str(label).removesuffix(".0").removesuffix(".00") == names[target] or float(label) == float(
                    names[target]
                )


NONE: dict[str, Any] = {
    "a null in categories": categories("a", "b", None),
    "a null in a dictionary": typed("a", "b", None).dictionary_encode(),
    "not a number": typed(0.0, 1.0, math.nan),
    "not a number of 16 bits": pyarrow.array(np.array([0, 1, np.nan] * 10, dtype=np.float16)),
    "not a number in a decimal": typed(None, True, False),
}


@pytest.mark.parametrize("case", NONE)
def test_a_label_that_is_no_number_or_null_is_missing(case: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 10 rows with no label in column 'label': row \d+, "):
        corpus.load(settings(put(tmp_path / "a.parquet", parquet(label=NONE[case]))))


@pytest.mark.parametrize("kind", ["csv", "parquet", "feather"])
def test_what_pandas_writes_of_one_frame_are_the_same_labels(kind: str, tmp_path: Path) -> None:
    """A file of each kind as the test split of another."""
    frames = {
        "categories": FRAME.astype({"label": "category"}),
        "truth": FRAME.assign(label=[i % 2 == 0 for i in range(30)]),
        "floats": FRAME.assign(label=[float(i % 3) for i in range(30)]),
    }
    for name, frame in frames.items():
        folder = tmp_path / name
        folder.mkdir()
        frame.to_parquet(folder / "train.parquet")
        getattr(frame, f"to_{kind}")(folder / f"test.{kind}", **({"index": False} if kind == "csv" else {}))
        found = corpus.load(settings(folder))
        expected = {"categories": ("maybe", "no", "yes"), "truth": ("False", "True"), "floats": ("0", "1", "2")}
        assert found.space.names == expected[name]
        assert found.splits["test"].targets.tolist() == [
            expected[name].index(str(label).removesuffix(".0")) for label in frame["label"]
        ]
