"""How files are laid out: quotes, delimiters, headers, names of columns, lists of JSON objects, packed and converted
files. One rule for training and for predictions."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from src.data import corpus
from src.errors import UserError
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.tables.content import Layout
from src.tables.tables import read_table
from src.tables.writing import open_table
from tests.conftest import refusal
from tests.runs.foreign_runs import explained_texts
from tests.tables import files
from tests.tables.files import ROWS, csv, jsonl, put
from tests.tables.test_odd_input import settings

Predict = Callable[..., str]
TSV = csv().replace(b",", b"\t")
FRAME = pandas.DataFrame(ROWS, columns=["text", "label"])


def lines(*rows: str) -> bytes:
    return "\n".join([*rows, ""]).encode()


def read(path: Path, content: Any, **layout: Any) -> list[tuple[Any, ...]]:
    """The rows of a file."""
    table = read_table(put(path, content), Layout(**layout))
    return list(zip(*table.columns.values(), strict=True))


UNQUOTED = ["text\tlabel", "a\tyes", '"b, they said\tno', "c\tyes", 'd"\tno', '5" wide\tyes', ""]


def test_a_row_of_a_tsv_that_may_be_several_is_refused(tmp_path: Path) -> None:
    file = put(tmp_path / "a.tsv", lines(*UNQUOTED))
    with pytest.raises(
        UserError, match=r"opens on line 3 .* closes on line 5, (.*\n)+.*quoting=none.*quoting=standard"
    ):
        read_table(file)
    rows = [("a", "yes"), ('"b, they said', "no"), ("c", "yes"), ('d"', "no"), ('5" wide', "yes")]
    assert read(file, None, quoting="none") == rows
    assert read_table(file, Layout(quoting="none")).rows == [2, 3, 4, 5, 6]
    assert read(file, None, quoting="standard") == [rows[0], ("b, they said\tno\nc\tyes\nd", "no"), rows[4]]


AMBIGUOUS = {
    "in the last column": lines("label\ttext", 'no\t"a', "yes\tb", 'no\tc"'),
    "with a blank line": lines("text\tlabel", '"a\tno', "", 'b"\tyes'),
    "one column": lines("text", '"a', 'b"'),
    "tabs in a .csv": lines("text\tlabel", '"a\tno', 'b"\tyes'),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_rows_that_may_be_several_are_found_wherever_they_are(case: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"opens on line 2 and closes on line [34]"):
        read_table(put(tmp_path / ("a.csv" if ".csv" in case else "a.tsv"), AMBIGUOUS[case]))


def test_a_first_row_without_a_header_may_be_several_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="opens on line 1 and closes on line 2"):
        read(tmp_path / "a.tsv", lines('"a\tno', 'b"\tyes', "c\tno"), header=False)


def test_quotes_that_are_left_open_say_where(tmp_path: Path) -> None:
    for kind, tab in (("tsv", "\t"), ("csv", ",")):
        rows = (row.replace("\t", tab) for row in ("text\tlabel", "a\tno", '"b\tyes', "c\tno"))
        with pytest.raises(
            UserError, match=r"line 4: unexpected end of data, in quotes since line 3\.\n.*quoting=none"
        ):
            read_table(put(tmp_path / f"a.{kind}", lines(*rows)))
    with pytest.raises(UserError, match=r"line 2: '<tab>' expected after '\"'\.\n.*quoting=none"):
        read_table(put(tmp_path / "a.tsv", lines("text\tlabel", '"Good" he said\tyes')))
    with pytest.raises(UserError, match=r"line 2 has 1, since a quote extends to line 3\.\n.*quoting=none"):
        read_table(put(tmp_path / "b.tsv", lines("text\tlabel", '"a\tno\t1', 'b"', "c\tno")))
    with pytest.raises(UserError, match=r"line 2 has 3\.\nRemove '\\t' from the texts"):
        read(tmp_path / "c.tsv", lines("text\tlabel", "a\tb\tno"), quoting="none")


HARD = ['line\nbreak, "quoted"\tand a tab', "a\n\nb", '"', "x\ny", 'all of it "quoted"', "'=1", "tab\there"]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_what_was_written_with_quotes_is_read_as_it_was(kind: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"text": HARD, "n": range(len(HARD)), "label": "no"})
    expected = [(text, str(n), "no") for n, text in enumerate(HARD)]
    for quoting in (0, 1):  # minimal, all
        written = frame.to_csv(sep="," if kind == "csv" else "\t", index=False, quoting=quoting)
        assert read(tmp_path / f"a.{kind}", written.encode()) == expected
    with open_table(tmp_path / f"b.{kind}") as write:
        write({"text": [t for t in HARD if t != "'=1"], "label": ["no"] * 6})
    assert [text for text, _ in read(tmp_path / f"b.{kind}", None)] == [t for t in HARD if t != "'=1"]


def test_rows_of_a_csv_that_may_be_several_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = lines("text,label", "a,no", '"b,yes', 'c",no', '"two', 'lines, really",no', "d,yes")
    assert len(read(tmp_path / "a.csv", content)) == 4
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == [
        f"{tmp_path / 'a.csv'}: lines 3 to 4 are read as one row each because of quotes, but each line could be a "
        "row. If quotes are part of the texts: quoting=none."
    ]
    assert (
        len(read(tmp_path / "a.csv", content.replace(b"two", b"two,no").replace(b"lines, ", b""), quoting="none")) == 6
    )


DELIMITED: dict[str, tuple[bytes, int]] = {  # and the line of the first row
    "semicolons": (csv().replace(b",", b";"), 2),
    "tabs": (TSV, 2),
    "bars": (csv().replace(b",", b"|"), 2),
    "a line of Excel": (b"sep=;\r\n" + csv().replace(b",", b";"), 3),
    "such a line in quotes": (b'\xef\xbb\xbf"SEP=^"\n' + csv().replace(b",", b"^"), 3),
    "such a line with a tab": (b"sep=\t\n" + TSV, 3),
    "such a line with a comma": (b"sep=,\n" + csv(), 3),
}


@pytest.mark.parametrize("case", DELIMITED)
def test_the_first_line_says_what_divides_columns(case: str, tmp_path: Path) -> None:
    content, first = DELIMITED[case]
    table = read_table(put(tmp_path / "a.csv", content))
    assert list(table.columns) == ["text", "label"]
    assert list(zip(*table.columns.values(), strict=True)) == ROWS
    assert table.rows == list(range(first, first + len(ROWS)))


@pytest.mark.parametrize(
    ("given", "mark"), [(";", ";"), ("tab", "\t"), (r"\t", "\t"), ("|", "|"), (":", ":"), (",", ",")]
)
def test_a_delimiter_can_be_given(given: str, mark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"number_{i};,x", "ab"[i % 2]) for i in range(30)] if mark in ":\t|" else [("no", "x"), ("yes", "y")]
    content = lines(f"text{mark}label", *(f'"{text}"{mark}{label}' for text, label in rows))
    for kind in ("csv", "tsv"):
        file = put(tmp_path / f"a.{kind}", content)
        table = read_table(file, Layout.of(settings(file, delimiter=given)))
        assert list(zip(*table.columns.values(), strict=True)) == rows
    # What the command line gives reaches the reader, whatever Hydra takes the character for.
    overrides = [f"data.path={file}", f"data.delimiter={given}", "data.text=none", f"run={tmp_path / 'run'}"]
    said = refusal("train", ["data=table", *overrides], capsys)
    assert f"data.text must name a column of {file}; got 'none'.\nThere are: 'label', 'text'." in said


@pytest.mark.parametrize("given", ['"', ";;", "", "a", "7"])
def test_other_delimiters_are_refused(given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [f"data.path={put(tmp_path / 'a.csv', csv())}", f"data.delimiter={given}", f"run={tmp_path / 'run'}"]
    assert "data.delimiter must be one character" in refusal("train", ["data=table", *overrides], capsys)


def test_a_given_delimiter_comes_before_what_the_file_says(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", lines("sep=;", "a,b;c", "1,2;3"), delimiter=",") == [("1", "2;3")]
    with pytest.raises(UserError, match=r"The delimiter seems to be ';': data\.delimiter=';'$"):
        corpus.load(settings(put(tmp_path / "b.csv", csv().replace(b",", b";")), delimiter="tab"))


def test_commas_in_texts_or_quotes_do_not_divide_other_columns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert read(tmp_path / "a.csv", lines('"text, raw";label', "a, b;no", '"c; d";yes')) == [
        ("a, b", "no"),
        ("c; d", "yes"),
    ]
    assert "a.csv: the first line has no comma, so the delimiter is ';'" in caplog.text
    assert read(tmp_path / "b.csv", lines('"one; two",label', "a;b,no")) == [("a;b", "no")]
    with pytest.raises(UserError, match=r"line 2 has 1.*\n.*If ';' is the delimiter: delimiter=';'"):
        read_table(put(tmp_path / "c.csv", lines("text, raw;label", "a;no")))
    assert read(tmp_path / "c.csv", lines("sep=;", "text, raw;label", "a;no")) == [("a", "no")]
    assert read(tmp_path / "c.csv", lines("text, raw;label", "a;no"), delimiter=";") == [("a", "no")]


@pytest.mark.parametrize("kind", ["json", "jsonl", "json.gz", "jsonl.gz"])
def test_json_may_be_a_list_or_lines(kind: str, tmp_path: Path) -> None:
    pack = gzip.compress if kind.endswith(".gz") else bytes
    contents = [
        *(files.json_list(), files.json_list().replace(b"\n", b"\r\n"), b"\xef\xbb\xbf \n" + files.json_list()),
        *(FRAME.to_json(orient="records").encode(), FRAME.to_json(orient="records", lines=True).encode(), jsonl()),
    ]
    for content in contents:
        assert read(tmp_path / f"a.{kind}", pack(content)) == ROWS
    table = read_table(put(tmp_path / f"a.{kind}", pack(files.json_list([("a", "x"), ("b", "y")]))))
    assert (table.rows, table.unit) == ([1, 2], "row")


def test_a_list_is_read_whole_wherever_its_pieces_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f'{"x" * (i * 7 % 50)} {{"[é😀,\\', f"l{i % 3}") for i in range(200)]
    file = put(tmp_path / "a.json", json.dumps([dict(zip(("text", "label"), r, strict=True)) for r in rows]).encode())
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("src.tables.opening.CHUNK", size)
        assert read(file, None) == rows


NO_LISTS: dict[str, tuple[bytes, str]] = {
    "pandas": (FRAME.to_json().encode(), r"holds whole columns, or lists \(text, label\)\.\n.*orient='records'"),
    "split": (FRAME.to_json(orient="split").encode(), "holds whole columns"),
    "lists of columns": (json.dumps(FRAME.to_dict("list")).encode(), "holds whole columns"),
    "in an object": (json.dumps({"data": [{"text": "a"}]}).encode(), r"lists \(data\)"),
    "lists": (FRAME.to_json(orient="values").encode(), r"row 1 is not an object\.\n.*\[\{…\}, \{…\}\]"),
    "objects over several lines": (b'{\n "text": "a"\n}\n', r"line 1 is not: .*\n.*\[\{…\}, \{…\}\]"),
    "cut off": (files.json_list()[:-40], "row 30 is not an object: "),
    "no end": (files.json_list()[:-1], r"'\]' is missing at its end"),
    "no comma": (b'[{"text": "a"} {"text": "b"}]', r"'\]' is missing"),
    "comma at the end": (b'[{"text": "a"},]', "row 2 is not an object"),
    "two": (files.json_list() * 2, "there is something after it"),
    "not a number": (b'[{"text": NaN}]', "row 1 is not an object: NaN is not a JSON value"),
    "twice": (b'[{"a": 1}, {"a": 1, "a": 2}]', "row 2 is not an object: the key 'a' occurs twice"),
    "nesting": (b'[{"a": ' + b"[" * 100_000, "row 1 is not an object: .*recursion"),
    "half a character": (b'[{"text": "\\ud83d"}]', "half of a character"),
    "long number": (b'[{"text": ' + b"1" * 5000 + b"}]", "row 1 is not an object: Exceeds the limit"),
    "endless": (b'[{"text": "' + b"x" * (17 << 20), "row 1 has more than 16,777,216 characters"),
    "zero bytes": (b"[\0{\0", "line 1 holds zero bytes"),
    "nothing": (b"[]", "nothing but blank rows"),
}


@pytest.mark.parametrize("case", NO_LISTS)
def test_other_json_is_refused_by_row(case: str, tmp_path: Path) -> None:
    content, message = NO_LISTS[case]
    with pytest.raises(UserError, match=message):
        read_table(put(tmp_path / "a.json", content))


def test_columns_that_are_not_used_may_have_any_name(tmp_path: Path) -> None:
    tsv = lines("\tUnnamed: 0\ttext\t\tlabel\tnote\tnote\tnote.1", "0\t0\ta\tx\tno\t1\t2\t3")
    tables = {
        "a.csv": tsv.replace(b"\t", b","),
        "a.tsv": tsv,
        "a.xlsx": files.xlsx([], lambda book: fill(book, tsv)),
        "a.parquet": repeated(tsv),
    }
    names = ["Unnamed: 0.1", "Unnamed: 0", "text", "Unnamed: 3", "label", "note", "note.2", "note.1"]
    assert names == list(pandas.read_csv(io.BytesIO(tables["a.csv"])).columns)
    for name, content in tables.items():
        table = read_table(put(tmp_path / name, content))
        assert list(table.columns) == names
        assert [values[0] for values in table.columns.values()] == ["0", "0", "a", "x", "no", "1", "2", "3"]
        with pytest.raises(UserError, match=r"data\.text must name one column .* 'note' occurs 2 times\.\nRename one"):
            table.column("note", "data.text")


def fill(book: Any, tsv: bytes) -> None:
    book.active.delete_rows(1)
    for row in tsv.decode().splitlines():
        book.active.append([cell or None for cell in row.split("\t")])


def repeated(tsv: bytes) -> bytes:
    names, values = (row.split("\t") for row in tsv.decode().splitlines())
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([[value] for value in values], names=names), content)
    return content.getvalue()


def test_more_columns_than_a_sheet_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at most 16,384 columns; .* has 20,000"):
        read_table(put(tmp_path / "a.csv", b"text" + b"," * 19_999))


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx"])
def test_a_file_without_a_header_has_numbers_for_names(kind: str, tmp_path: Path) -> None:
    def drop(book: Any) -> None:
        book.active.delete_rows(1)

    content = {"csv": csv(), "tsv": TSV}.get(kind, b"").partition(b"\n")[2] or files.xlsx(change=drop)
    file = put(tmp_path / f"a.{kind}", content)
    table = read_table(file, Layout(header=False))
    assert list(table.columns) == ["0", "1"]
    assert list(zip(*table.columns.values(), strict=True)) == ROWS
    assert table.rows == list(range(1, len(ROWS) + 1))
    splits = corpus.load(settings(file, header=False, text=0, label=1)).splits
    assert {text for split in splits.values() for text in split.texts} == {text for text, _ in ROWS}
    with pytest.raises(
        UserError, match=r"data\.label must name a column .*\n.*\nDoes the file have no header\? data\.header=false"
    ):
        corpus.load(settings(file))


def test_headers_that_are_rows_and_rows_that_are_headers_are_suspected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = put(tmp_path / "a.csv", csv())
    with pytest.raises(UserError, match=r"got 'label'(.*\n)+The first row has it; .*data\.header=true"):
        corpus.load(settings(file, header=False))
    with pytest.raises(UserError, match=r"'label' \(1: line 1\)"):
        corpus.load(settings(file, header=False, text=0, label=1))
    assert "The first row of" in caplog.text
    assert "has 'text' and 'label': if these are names of columns, data.header=true" in caplog.text
    caplog.clear()
    corpus.load(settings(put(tmp_path / "b.csv", csv().partition(b"\n")[2]), header=False, text=0, label=1))
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    with pytest.raises(UserError, match="at most the first row's 2 cells; row 2 has more"):
        read(tmp_path / "a.xlsx", files.xlsx([("a", "no", "more")]), header=False)


ODD = ("Review Text (en) [raw], v1.0", "star rating = x")


@pytest.mark.rare
def test_columns_are_named_on_the_command_line_as_they_are_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [*ODD, "0", "a,b", "Wie war's?", "${x", "{a} b", "2.5"]
    lists = ["[raw]", "[a,b]"]  # which without quotes would be several columns
    header = lines(",".join(f'"{name}"' for name in names))
    file = put(tmp_path / "a.csv", header + b"".join(b",".join([b"t%d" % i] * 8) + b"\n" for i in range(30)))
    for name in names:
        given = [f"data.path={file}", f"data.text={name}", f"data.label={name}", f"run={tmp_path / 'run'}"]
        assert "Each label needs at least 3 rows" in refusal("train", ["data=table", *given], capsys), name
    for name in lists:
        given = [f"data.path={file}", f'data.text="{name}"', "data.label=0", f"run={tmp_path / 'run'}"]
        assert f"data.text must name a column of {file}; got {name!r}" in refusal(
            "train", ["data=table", *given], capsys
        )
    wrong = [f"data.path={file}", 'data.text="a,b"', "data.label=x=y", f"run={tmp_path / 'run'}"]
    assert re.search(
        r"data\.label must name a column of .*; got 'x=y'", refusal("train", ["data=table", *wrong], capsys)
    )


def test_predictions_read_files_as_the_run_did(
    run_tiny: Callable[..., tuple[RunFolder, dict[str, Any]]],
    said: Predict,
    tmp_path: Path,
) -> None:
    rows = [
        f"{label}\t{'' if i % 4 else chr(34)}{text}{'' if i % 4 else chr(34) * (i % 8 == 0)}"
        for i, (text, label) in enumerate(ROWS)
    ]
    source, target = put(tmp_path / "in.tsv", lines(*rows)), tmp_path / "out.tsv"
    layout = ("data.header=false", "data.quoting=none", "data.text=1", "data.label=0")
    folder, result = run_tiny("model=bert_linear", "data=table", f"data.path={source}", *layout)
    assert sum(result["texts"].values()) == 30
    said(run=str(folder.path), input=str(source), output=str(target), evaluate=True)
    table = read_table(target)
    assert table.columns["1"] == [row.partition("\t")[2] for row in rows]
    assert len(table.columns["prediction"]) == 30
    with pytest.raises(UserError, match=r"got 'text'\.\n(.*\n)*The first row has it; .*: header=true"):
        said(run=str(folder.path), input=str(put(tmp_path / "b.csv", csv())), text_column="text")
    found = said(run=str(folder.path), input=str(tmp_path / "b.csv"), text_column="text", header=True)
    assert [json.loads(line)["text"] for line in found.splitlines()] == [text for text, _ in ROWS]
    found = said(run=str(folder.path), input=str(target), text_column=1, header=True, quoting="auto")
    assert [json.loads(line)["1"] for line in found.splitlines()] == table.columns["1"]
    assert explained_texts(folder, input=str(source), limit=30) == table.columns["1"]


def test_predictions_take_what_a_training_takes(finished: RunFolder, said: Predict, tmp_path: Path) -> None:
    texts = [text for text, _ in ROWS]
    inputs = {
        "a.json": files.json_list(),
        "a.csv.gz": gzip.compress(csv()),
        "b.csv": b"sep=;\n" + csv().replace(b",", b";"),
        "c.csv": csv().replace(b",", b";"),
    }
    for name, content in inputs.items():
        found = said(run=str(finished.path), input=str(put(tmp_path / name, content)))
        assert [json.loads(line)["text"] for line in found.splitlines()] == texts
    odd = put(tmp_path / "d.csv", csv().replace(b",", b"^"))
    found = said(run=str(finished.path), input=str(odd), delimiter="^")
    assert [json.loads(line)["text"] for line in found.splitlines()] == texts
    with pytest.raises(UserError, match=r"The delimiter seems to be '\\t': delimiter=tab$"):
        said(run=str(finished.path), input=str(put(tmp_path / "e.csv", TSV)), delimiter=",")
    with pytest.raises(UserError, match="delimiter must be one character"):
        said(run=str(finished.path), input=str(odd), delimiter="ab")
    with pytest.raises(UserError, match=r"delimiter must be one character.*\nencoding must be an encoding"):
        explained_texts(finished, input=str(odd), delimiter="ab", encoding="klingon")
    assert explained_texts(finished, input=str(odd), delimiter="^", encoding="utf8", limit=3) == texts[:3]
    with pytest.raises(UserError, match=r"opens on line 3 .*\n.*texts: quoting=none\. .*: quoting=standard"):
        said(run=str(finished.path), input=str(put(tmp_path / "a.tsv", lines(*UNQUOTED))))


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "jsonl", "parquet"])
def test_predictions_keep_columns_without_a_name_of_their_own(
    kind: str,
    finished: RunFolder,
    said: Predict,
    tmp_path: Path,
) -> None:
    source = put(tmp_path / "in.csv", lines(",text,note,note,", "1,good,a,b,", "2,bad,c,d,"))
    target = tmp_path / f"out.{kind}"
    said(run=str(finished.path), input=str(source), output=str(target))
    columns = read_table(target).columns
    assert list(columns)[:6] == ["Unnamed: 0", "text", "note", "note.1", "Unnamed: 4", "prediction"]
    assert [columns[name] for name in list(columns)[:4]] == [["1", "2"], ["good", "bad"], ["a", "c"], ["b", "d"]]
    if kind == "xlsx":
        assert openpyxl.load_workbook(target).worksheets[0]["A1"].value == "Unnamed: 0"


def test_configs_of_earlier_versions_read_as_by_default(
    run: RunFolder,
    said: Predict,
    tmp_path: Path,
) -> None:
    before = config_hash(run.saved_config())
    saved = OmegaConf.load(run.path / "config.yaml")
    for key in ("header", "quoting", "ignore_splits"):
        del saved.data[key]
    OmegaConf.save(saved, run.path / "config.yaml")
    found = run.saved_config().data
    assert config_hash(run.saved_config()) == before
    assert (found.header, found.quoting, found.ignore_splits) == (True, "auto", [])
    source = put(tmp_path / "in.csv", csv(ROWS[:3]))
    assert len(said(run=str(run.path), input=str(source)).splitlines()) == 3


def test_rows_are_gathered_in_little_more_memory_than_their_texts(tmp_path: Path) -> None:
    rows = [(f"{i} {'words ' * 12}", ("no", "maybe", "yes")[i % 3]) for i in range(20_000)]
    for name, content in {"a.csv": csv(rows), "a.jsonl": jsonl(rows)}.items():
        file = put(tmp_path / name, content)
        tracemalloc.start()
        try:
            table = read_table(file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # The text of a row, a number, and four references; and a piece of the file, decoded and split into lines.
        assert peak < len(rows) * (sys.getsizeof(rows[-1][0]) + 32 + 4 * 8) + (6 << 20)
        assert len({id(label) for label in table.columns["label"]}) == 3


def test_rows_may_have_different_keys(tmp_path: Path) -> None:
    content = lines('{"text": "a", "n": 1}', "", '{"label": "x"}', '{"text": "b", "label": "y", "n": null}')
    table = read_table(put(tmp_path / "a.jsonl", content))
    assert table.columns == {"text": ["a", None, "b"], "n": [1, None, None], "label": [None, "x", "y"]}
    assert table.rows == [1, 3, 4]
