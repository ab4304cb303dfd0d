"""What `python -m src.train` cannot use is refused: one message that names it, exit code 2, no traceback, nothing left;
and what only looks bad is taken."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from src.config.folder import CONF
from tests.conftest import REVIEWS, refusal
from tests.faults.runs import become_ordinary
from tests.tables.files import (
    ROWS,
    SHEET,
    csv,
    entity_bomb,
    flipped,
    folder,
    jsonl,
    labels,
    large_archive,
    link_to,
    not_utf8,
    parquet,
    pipe,
    put,
    rewritten,
    said_to_hold,
    saved_dataset,
    unreadable,
    xlsx,
    zip_bomb,
)

Content = bytes | Callable[[], bytes] | Callable[[Path], None]
Refused = Callable[..., str]
PAIRS = [(f"text {i}", "ab"[i % 2]) for i in range(10)]


def text_row(text: Any, label: Any = "no") -> bytes:
    return jsonl([*ROWS, (text, label)])


# What lies at data.path, what the message must hold (a regular expression), and other overrides.
DATA: dict[str, tuple[Any, ...]] = {
    "empty": ("a.csv", b"", r"a\.csv must hold a header and rows; it is empty"),
    "empty lines": ("a.txt", b"", r"a\.txt must hold lines; it is empty"),
    "blank lines": ("a.txt", b"\n \n", "must hold rows; it has nothing but blank lines"),
    "a line alone": (
        "a.txt",
        b"one\n",
        "A split needs at least one row on both sides; .* takes 0 of the one row",
        *("model=bert_mlm", "data.label=null"),
    ),
    "only a mark": ("a.csv", b"\xef\xbb\xbf", "must have the column names; it is blank"),
    "header only": ("a.csv", b"text,label\n", r"it has a header \(text, label\) and nothing below"),
    "blank header": ("a.csv", b",\na,b\n", "must have the column names; it is blank"),
    "blank lines first": ("a.csv", b"\n\n" + csv(), "must have the column names; it is blank"),
    "missing": ("none", lambda path: None, r"none: No such file or directory\.\nCheck the spelling"),
    "long name": ("a" * 300, lambda path: None, "File name too long"),
    "loop": ("a.csv", link_to("a.csv"), "Too many levels of symbolic links"),
    "device": ("a.csv", link_to("/dev/zero"), "is a device, a pipe or a socket"),
    "pipe": ("a.csv", pipe, "is a device, a pipe or a socket"),
    "directory": ("d", folder(other__csv=csv()), r"must hold a train file .* holds other\.csv\.\nRename"),
    "empty directory": ("d", folder(), "holds nothing"),
    "directory for a file": (
        "d",
        lambda path: (path / "train.csv").mkdir(parents=True),
        "train.csv must be a file; it is a folder",
    ),
    "two for one split": ("d", folder(train__csv=csv(), train__jsonl=jsonl()), r"train\.csv and train\.jsonl are both"),
    "unreadable": ("a.csv", unreadable, r"a\.csv cannot be read: Permission denied"),
    "unknown kind": ("a.doc", b"text", r"must be one of \.csv, \.tsv.*; it ends with \.doc"),
    "no kind": ("data", b"text", "it ends with nothing"),
    "no text column": ("a.csv", csv(header="txt,label"), r"data\.text must .* 'text'\.\nDid you mean 'txt'\?"),
    "no label column": ("a.csv", csv(header="text,lable"), r"data\.label must .*\nDid you mean 'lable'"),
    "no labels in plain lines": ("a.txt", b"one\ntwo\n", r"data\.label must name a column"),
    "ten thousand columns": (
        "a.csv",
        b",".join(b"c%d" % i for i in range(9999)) + b"\n" + b"," * 9998,
        r"'c\d+', …\. Name one: data\.label=…",
    ),
    "duplicate headers": (
        "a.csv",
        csv([("a,b", "no"), ("a,b", "yes")], header="text,text,label"),
        r"'text' occurs 2 times\.\nRename one",
    ),
    "commas": ("a.tsv", csv(), "delimiter seems to be ',': data.delimiter=,"),
    "latin-1": (
        "a.csv",
        csv() + b"caf\xe9,no\n",
        r"byte \d+ on line 32 is not \(0xE9\)\.\n.* data\.encoding=windows-1252",
    ),
    "latin-1 and carriage returns": ("a.csv", csv().replace(b"\n", b"\r") + b"\xe9,no\r", "on line 32 is not"),
    "half a character": ("a.csv", csv() + "é".encode()[:1], "on line 32 is not"),
    "utf-16 without a mark": (
        "a.csv",
        csv().decode().encode("utf-16-le"),
        r"line 1 holds zero bytes\.\n.* data\.encoding=utf-16-le",
    ),
    "half of utf-16": ("a.csv", csv().decode().encode("utf-16")[:-1], "must be UTF-16-LE; byte \\d+ on line 31 is not"),
    "other encoding": ("a.csv", csv() + b"a\x81,no", "must be CP1252; byte .* line 32 is not", "data.encoding=cp1252"),
    "nul": ("a.csv", csv() + b"a\0,no\n", "line 32 holds zero bytes"),
    "all nul": ("a.csv", bytes(1000), "line 1 holds zero bytes"),
    "ragged": ("a.csv", csv() + b"b,no,1\n", "header's 2 fields; line 32 has 3"),
    "open quote": ("a.csv", csv() + b'"a,no\n', r"line 32: unexpected end of data\.\nIs a quote left open"),
    "letters behind a quote": ("a.csv", b'text,label\n"a"b,no\n', "line 2: ',' expected after '\"'"),
    "a field of 10 MB": (
        "a.csv",
        csv([("x" * 10_000_000, "no")]),
        r"line 2: field larger than field limit \(1000000\)",
    ),
    "a text of 10 MB": ("a.jsonl", lambda: text_row("x" * 10_000_000), "more than 1,000,000 char.*: line 31"),
    "a line of 20 MB": ("a.csv", b"x" * 20_000_000, "at most 16,777,216 characters; line 1 has more"),
    "blank text": ("a.csv", csv() + b" ,no\n", "1 row with no text in column 'text': line 32"),
    "null text": ("a.jsonl", text_row(None), "no text in column 'text': line 31"),
    "nan for texts": ("a.parquet", lambda: parquet(text=[float("nan")] * 30), "no text in column 'text': row 1, 2"),
    "list of texts": ("a.jsonl", text_row(["a"]), "a list, an object or bytes for a text in column 'text': line 31"),
    "no label": ("a.csv", csv() + b"a,\nb,nan\nc, \n", "3 rows with no label in column 'label': line 32, 33, 34"),
    "null label": ("a.jsonl", text_row("a", None), "1 row with no label .*: line 31"),
    "object for a label": ("a.jsonl", text_row("a", {"b": 1}), "an object or bytes for a label .*: line 31"),
    "one label and lists": (
        "a.jsonl",
        text_row("a", ["b"]),
        "others have a list: line 1, 2.*\nMake it a list too",
    ),
    "null in a list": ("a.jsonl", labels(["a"], ["b", None]), "contains something other than labels: line 2, 4"),
    "bad flag": (
        "a.csv",
        b"text,x,y\na,1,2\n",
        r"must hold 0 or 1; .* line 2 has '2' in column 'y'\.\nCorrect it",
        "data.label=[x,y]",
    ),
    "one class": (
        "a.csv",
        csv((text, "no") for text, _ in ROWS),
        r"two labels .*; \S+a\.csv has 1 in column 'label': no",
    ),
    "no class": ("a.jsonl", labels([], []), r"a\.jsonl has 0 in column 'label': none"),
    "one class in lists": ("a.jsonl", labels(["a"], []), r"two labels .*a\.jsonl has 1 .*: a"),
    "rare class": (
        "a.csv",
        csv([*ROWS, ("a", "rare"), ("b", "rare")]),
        r"Each label needs at least 3 rows.* labels with fewer in \S+a\.csv: 'rare' \(2: line 32, 33\)",
    ),
    "scores": (
        "a.csv",
        csv((text, str(i)) for i, (text, _) in enumerate(ROWS)),
        r".*: '0' \(1: line 2\), .*'7' \(1: line 9\), …\.(\n.*)*Are they numbers to predict\? data.task=regression",
    ),
    "three labels for binary": (
        "a.csv",
        csv(),
        r"needs exactly two labels; \S+a\.csv has 3 in column 'label': maybe, no, yes",
        "data.task=binary",
    ),
    "lists for multiclass": (
        "a.jsonl",
        labels(["a"], ["b"]),
        r"rows have lists of labels, such as \S+a\.jsonl line 1",
        "data.task=multiclass",
    ),
    "list in a test file": (
        "d",
        folder(train__csv=csv(), test__jsonl=jsonl([("a", ["no", "yes"])])),
        r"test\.jsonl has 1 row with a list of labels in a single-label task: line 1",
    ),
    "list written into a cell": (
        "a.csv",
        b'text,label\na,"[1, 0]"\nb,"[0, 1]"\n',
        r"a\.csv line 2 has the text '\[1, 0\]' in column 'label', a list that was written",
    ),
    "list of names written into a cell": ("a.csv", b"text,label\na,['x' 'y']\n", "line 2 has the text"),
    "empty list written into a cell": ("a.csv", b"text,label\na,x\nb,[]\n", r"line 3 has the text '\[\]'"),
    "array written into a cell": ("a.csv", b"text,label\na,[1. 0. 0.]\n", "line 2 has the text"),
    "list of one name written into a cell": ("a.csv", b"text,label\na,['x']\n", "line 2 has the text"),
    "tuple written into a cell and divided": (
        "a.csv",
        b'text,label\na,"(1, 0)"\n',
        "line 2 has the text",
        "data.label_delimiter=','",
    ),
    "vectors of two lengths": (
        "a.jsonl",
        labels([1, 0, 0], [0, 1]),
        r"Every vector must have 3 values, one per label; \S+a\.jsonl line 2 has 2\.",
    ),
    "vector of counts": ("a.jsonl", labels([1, 0, 0], [0, 2, 0]), "values other than 0 and 1: line 2, 4"),
    "shares of labels": ("a.jsonl", labels([0.2, 0.8], [1.0, 0.0]), "list of numbers with fractions .*: line 1, 3"),
    "two labels in a vector": (
        "a.jsonl",
        labels([1, 0, 0], [1, 1, 0]),
        r"a vector without exactly one 1.*: line 2, 4, .*\n.*data\.task=multilabel",
        "data.task=multiclass",
    ),
    "other vectors in a test file": (
        "d",
        folder(train__jsonl=labels([1, 0, 0], [0, 1, 1]), test__jsonl=labels([1, 0, 0, 0])),
        r"test\.jsonl line 1 has 4",
    ),
    "names for other vectors": (
        "a.jsonl",
        labels([1, 0, 0], [0, 1, 1]),
        r"has 2 names, and \S+a\.jsonl line 1 has 3 positions",
        "data.label_names=[a,b]",
    ),
    "names for numbers from one on": (
        "a.csv",
        csv((text, str(1 + i % 3)) for i, (text, _) in enumerate(ROWS)),
        r"each of the labels 0 to 2; \S+a\.csv line 4 has '3'",
        "data.label_names=[a,b,c]",
    ),
    "more names than numbers": (
        "a.csv",
        csv((text, str(1 + i % 2)) for i, (text, _) in enumerate(ROWS)),
        r"must have training rows; \S+a\.csv has none with 0, 'a'",
        "data.label_names=[a,b,c]",
    ),
    "measurements": (
        "a.csv",
        csv((text, f"{i / 8}") for i, (text, _) in enumerate(ROWS)),
        r"must be classes; \S+a\.csv has 30 different numbers with fractions .*(\n.*)*data\.task=multiclass",
    ),
    "number that is two texts": (
        "a.jsonl",
        labels("1", "1.0", 1),
        r"a\.jsonl line 3 has 1, which may be '1' or '1\.0'",
    ),
    "number written otherwise in a test file": (
        "d",
        folder(train__csv=b"text,label\na,1\nb,2\nc,1\nd,2\n", test__csv=b"text,label\ne,1.0\n"),
        r"test\.csv line 2 has '1\.0'\.\nIt differs from '1' only in",
    ),
    "unseen test label": ("d", folder(train__csv=csv(), test__csv=csv([("a", "yess")])), "test.csv line 2 has 'yess'"),
    "too few rows": ("a.csv", csv(PAIRS), r"here 2; data\.test_fraction=0\.1 takes 1 of the 8 rows"),
    "too low a limit": ("a.csv", csv(), r"data\.limit=1 takes 1 of .*\nChange data\.limit", "data.limit=1"),
    "bad line": ("a.jsonl", jsonl() + b'{"text":\n', "line 31 is not: Expecting value at character 10"),
    "array line": ("a.jsonl", jsonl() + b"[1]\n", "line 31 is not"),
    "scalar line": ("a.jsonl", jsonl() + b"3\n", "line 31 is not"),
    "empty list": ("a.json", b"[\n{}\n]", "must hold rows; it has nothing but blank rows"),
    "truncated": ("a.jsonl", jsonl()[:-5], "line 30 is not"),
    "nan literal": ("a.jsonl", b'{"text": "a", "label": NaN}\n', "NaN is not a JSON value"),
    "endless object": (
        "a.json",
        lambda: b'[{"text": "' + b"x" * (40 << 20),
        "row 1 has more than 16,777,216 characters",
    ),
    "endless blanks": ("a.json", lambda: b" " * (40 << 20), "at most 16,777,216 characters; line 1 has more"),
    "gzip bomb": (
        "a.csv.gz",
        lambda: gzip.compress(b"a,b\n" * (1 << 26)),
        "at most 200 times its size; .* like a zip bomb",
    ),
    "nesting": (
        "a.jsonl",
        jsonl() + b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "line 31 is not: .*recursion",
    ),
    "long number": ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}", "line 1 is not: Exceeds the limit"),
    "repeated key": ("a.jsonl", b'{"text": "a", "text": "b"}\n', "the key 'text' occurs twice"),
    "lone surrogate": ("a.jsonl", b'{"text": "a \\ud83d b"}\n', "line 1 is not: it escapes half of a character"),
    "lone surrogate in bytes": ("a.jsonl", b'{"text": "\xed\xa0\x80"}\n', "byte 10 on line 1 is not"),
    "text as xlsx": ("a.xlsx", csv(), "must be an Excel workbook; it is not: it is damaged or a renamed file"),
    "html as xlsx": ("a.xlsx", b"<html><table>", "it is damaged or a renamed file"),
    "encrypted": ("a.xlsx", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "it has a password or is an old .xls"),
    "half a workbook": ("a.xlsx", lambda: xlsx()[:2000], "it is damaged or a renamed file"),
    "zip bomb": ("a.xlsx", lambda: zip_bomb(1 << 26), "unpacks from .* to 67,108,864 bytes, like a zip bomb"),
    "zip bomb in bytes": ("a.xlsx", large_archive, "at most 134,217,728 bytes.* to 316,669,952"),
    "endless row": ("a.xlsx", lambda: rewritten(SHEET, b"</row>", b"<c/>" * (1 << 21)), "sheet1.xml has more"),
    "endless styles": (
        "a.xlsx",
        lambda: rewritten("xl/styles.xml", b"<cellXfs", b" " * (1 << 23) + b"<cellXfs"),
        "styles",
    ),
    "understated zip bomb": ("a.xlsx", lambda: said_to_hold(99, zip_bomb(1 << 24)), "it is damaged"),
    "entity bomb": ("a.xlsx", entity_bomb, "its XML declares entities, as an entity bomb does"),
    "no sheet": ("a.xlsx", lambda: rewritten("xl/workbook.xml", b"<sheet .*?/>", b""), "must hold a sheet with rows"),
    "formulas": (
        "a.xlsx",
        lambda: xlsx([*ROWS, ("=1+1", "no")]),
        r"no text .*: row 32\.\n.*Of formulas, the saved",
    ),
    "far row": ("a.xlsx", lambda: rewritten(SHEET, b'r="5"', b'r="999999999"'), "at most 1,048,576 rows"),
    "far column": ("a.xlsx", lambda: rewritten(SHEET, b'r="A5"', b'r="ZZZZZZ5"'), "not a valid column name"),
    "broken XML": ("a.xlsx", lambda: rewritten(SHEET, b"</row>", b"</raw>"), "cannot be read: .*mismatched tag"),
    "no rows in the sheet": ("a.xlsx", lambda: xlsx([]), "and nothing below"),
    "text as parquet": ("a.parquet", csv(), "must be a Parquet file"),
    "half a parquet": ("a.parquet", lambda: parquet()[:300], "must be a Parquet file"),
    "flipped parquet": ("a.parquet", lambda: flipped(parquet(), 20), r"must be a Parquet file; .*\w\.\nWrite it again"),
    "bytes for texts": ("a.parquet", lambda: parquet(text=[b"a"] * 30), "bytes for a text .*: row 1, 2"),
    "bytes for labels": ("a.parquet", lambda: parquet(label=[b"a", b"b"] * 15), "bytes for a label .*: row 1, 2"),
    "nan for labels": ("a.parquet", lambda: parquet(label=[float("nan")] * 30), "no label .*: row 1, 2"),
    "not utf-8 in parquet": ("a.parquet", not_utf8, "must be a Parquet file; .*UTF8"),
    "no saved data set": (
        "d",
        saved_dataset(dataset_dict={"splits": ["train"]}),
        "must be a folder written by save_to",
    ),
    "list for a data set": ("d", saved_dataset(dataset_info=[], state={}), "must be a folder written by save_to_disk"),
}

FEW = "must be at most 66 for .*; got 67"
CONFIG: dict[str, tuple[Any, ...]] = {
    "unknown keys and options": (
        r"^modle is not a key of this config\.\nDid you mean model\?\noptimizer\.lrr is not a key of this config\.\n"
        r"Did you mean optimizer\.lr\?\nfreeze has no option 'bottm'\.\nDid you mean bottom\?\n$",
        *("modle=x", "optimizer.lrr=3", "freeze=bottm", "+data.foo=1", "hydra/launcher=joblib"),
    ),
    "all values at once": (
        r"(?s)dropout has an invalid value: 'much'\..*data\.limitt is not a key .*Did you mean limit\?.*"
        r"optimizer\.lr has .*: nan\.\nIt should be a finite number\..*freeze\.layers has .*: 'x'",
        *("freeze=bottom", "freeze.layers=x", "optimizer.lr=nan", "model.dropout=much", "+data.limitt=3"),
    ),
    "no value": (
        r"^data\.path has no value\.\nGive one: data\.path=…\nThe comments in conf/",
        "data=table",
    ),
    "key of one's own": (
        r"race\.rates\.none\.lr is not a key of this config\.\nTo add it: \+race\.rates\.none\.lr=…",
        *("-m", "sweep=race", "race.rates.none.lr=[1e-5]"),
    ),
    "patience that is no number": (
        r"patience must be a number of validations, at least 1, such as 3; got 'no'",
        "callbacks.early_stopping.patience=no",
    ),
    "no patience at all": (
        r"patience must be a number of validations, at least 1, such as 3; got 0",
        "callbacks.early_stopping.patience=0",
    ),
    "key of nothing": (
        r"patience is not a key of this config\.\ncallbacks\.early_stopping has no keys, since it is null; remove this",
        *("callbacks=no_early_stopping", "callbacks.early_stopping.patience=3"),
    ),
    "removed key": (r"optimizer\.lr has no value\.\nGive one", "~optimizer.lr"),
    "empty value": (r"optimizer\.lr has an invalid value: ''", "optimizer.lr="),
    "null group": ("data has no option 'null'", "data=null"),
    "number for a group": ("freeze has no option '3'", "freeze=3"),
    "list for a group": (r"freeze must be one of its options; got \[all,none\]", "freeze=[all,none]"),
    "group that the option has not": ("backbone/size goes with backbone=scratch only", "backbone/size=tiny"),
    "the same for several": ("backbone/size goes with backbone=scratch", "-m", "backbone/size=tiny", "seed=1,2"),
    "one folder for several": ("Name the folder of the multirun instead", "-m", "seed=1,2", "run=HERE"),
    "value without a key": (" is not a key of this config", "=3"),
    "key without a value": (r"KEY=VALUE; got data\.path\.", "data.path"),
    "unknown flag": ("unrecognized arguments: --foo", "--foo"),
    "wrong type": (r"trainer\.max_epochs has an invalid value: 'many'", "trainer.max_epochs=many"),
    "section for a value": (r"data\.text has an invalid value: \{'a': 1\}", "data.text={a:1}"),
    "value for a section": (r"callbacks\.progress has an invalid value: 3", "callbacks.progress=3"),
    "one label column in a list": (r"^data\.label has .*\['a'\]\.\nList should have at least 2", "data.label=[a]"),
    "negative rate": (r"optimizer\.lr .*: -1\.\nIt should be greater than 0", "optimizer.lr=-1"),
    "infinite rate": (r"optimizer\.lr .*: inf", "optimizer.lr=inf"),
    "batch 0": (r"data\.batch_size .*: 0\.\nIt should be greater than or equal to 1", "data.batch_size=0"),
    "half a batch": (r"data\.batch_size .*: 1\.5", "data.batch_size=1.5"),
    "no epochs": (r"trainer\.max_epochs", "trainer.max_epochs=0"),
    "saving before it is time": ("every_minutes must be a number .* got -1", "callbacks.checkpoint.every_minutes=-1"),
    "saving at no time": ("callbacks.checkpoint cannot be built: .*got nan", "callbacks.checkpoint.every_minutes=nan"),
    "saving soon": (r"callbacks\.checkpoint cannot be built", "callbacks.checkpoint.every_minutes=soon"),
    "no validation": (
        r"check_val_every_n_epoch must be at most trainer\.max_epochs, .*; got 5 and 2",
        "trainer.check_val_every_n_epoch=5",
        "trainer.max_epochs=2",
    ),
    "seed too large": (r"seed .*\n.*less than 4294967296", "seed=4294967296"),
    "warm-up": (r"scheduler\.schedule\.warmup .*: -1", "scheduler.schedule.warmup=-1"),
    "layer": (r"freeze\.layers must lie in 0\.\.3 for this backbone", "freeze=bottom", "freeze.layers=4"),
    "negative layer": (r"freeze\.layers .*: -1", "freeze=bottom", "freeze.layers=-1"),
    "no such parameter": ("zzz matches none of", "freeze=pattern", "freeze.frozen=[zzz]"),
    "no expression": (r"which is not a regular expression", "freeze=pattern", "freeze.frozen=['(']"),
    "everything and the head": (r"links\.0\.train .*: \[\]", "freeze=chain", "freeze.links=[{train:[]}]"),
    "max_length": (FEW, "data.max_length=67"),
    "fractions": (
        "must leave rows to train on; they add up to 1.1",
        "data.validation_fraction=0.9",
        "data.test_fraction=0.2",
    ),
    "a list of one column": (r"data\.text must list different columns, at least two; got \[a\]", "data.text=[a]"),
    "the same column twice": (r"data\.text must list different columns", "data.text=[a,a]"),
    "three columns": (r"two whose texts are a pair; got a, b, c\.\n.*data\.join=true", "data.text=[a,b,c]"),
    "one column to join": ("join=true joins several columns, but data.text=text is one", "data.join=true"),
    "packed pairs": ("pack=true needs single texts", "data.text=[a,b]", "data.pack=true"),
    "no room for pairs": ("max_length must be at least 6 for pairs", "data.text=[a,b]", "data.max_length=5"),
    "pairs without a column": (r"data\.text must name a column of .*; got 'b'", "data.text=[text,b]"),
    "names of columns": ("label_names needs a single label column", "data.label=[a,b]", "data.label_names=[c,d]"),
    "one name twice": ("must be distinct and not blank; got", "data.label_names=[a,'a ']"),
    "one name": (r"data\.label_names has .*\nList should have at least 2", "data.label_names=[a]"),
    "columns and a task": (
        "with several label columns must have task=multilabel, regression or auto",
        "data.label=[a,b]",
        "data.task=binary",
    ),
    "no label": (r"data\.label must name the column .*\n.* train without labels: model=bert_mlm", "data.label=null"),
    "no data": ("data needs a path", "data.path=null"),
    "no backbone": ("backbone needs a name", "backbone.name=null", "backbone.package=null"),
    "no such backbone": (r"there is no folder /none", "backbone.name=/none"),
    "no such user": ("~ must begin with the name of a user", "backbone.name='~nobody_at_all/x'"),
    "metric": (r"must be validation/ and a score of this task; got typo\.\nThere are: .*loss", "monitor.metric=typo"),
    "metric of no split": (r"got accuracy\.\nDid you mean validation/accuracy\?", "monitor.metric=accuracy"),
    "two keys as close": (r"\nDid you mean trainer\.max_epochs or trainer\.min_epochs\?", "trainer.epochs=3"),
    "key without its section": (r"^lr is not a key .*\nDid you mean backbone\.lr or optimizer\.lr\?", "lr=1e-4"),
    "key of another option": (
        r"It belongs to freeze=bottom or freeze=bottom_2 or freeze=cut or freeze=top\.",
        "freeze.layers=4",
    ),
    "option without its group": (r"got bert_linear\.\nDid you mean model=bert_linear\?", "bert_linear"),
    "no key": (
        r"Write each argument as KEY=VALUE; got outputs/runs\.\nDid you mean run=outputs/runs\?",
        "outputs/runs",
    ),
    "other task's metric": (r"monitor\.metric must be validation/ and a score", "monitor.metric=validation/perplexity"),
    "pooling": ("It should be 'max', 'mean' or 'last'", "model=bert_bilstm", "model.pooling=cls"),
    "reference": (r"data\.text refers to a key that does not exist: .*'foo' not found", "data.text=${foo}"),
    "reference to itself": ("seed refers to a key that does not exist: Recursive", "seed=${seed}"),
    "reference to the environment": (
        "reads the environment variable NO_SUCH, which is not set",
        "data.text=${oc.env:NO_SUCH}",
    ),
    "half a reference": (r"^A reference must be \$\{KEY\}, .*; got seed=\$\{\.\nCorrect it", "seed=${"),
    "reference for the folder": ("^run refers to a key that does not exist: .*'oops' not found", "run=${oops}"),
    "half a reference for the folder": (r"both braces; got run=a\$\{oops\.\n", "run=a${oops"),
    "the same in quotes": (r"both braces; got run=\"a\$\{oops\"\.\n", 'run="a${oops"'),
    "reference for Hydra's folder": (r"^hydra\.run\.dir refers to a key that", "hydra.run.dir=${oops}"),
    "another quote": (r"Write each argument as KEY=VALUE, with quotes", "seed='1"),
    "one of several options": ("freeze has no option 'bottm'.\nDid you mean bottom?", "-m", "freeze=none,bottm"),
    "empty sweep": ("freeze has no option ''", "-m", "freeze="),
    "sweep without values": ("there are none for optimizer.lr", "-m", "optimizer.lr=range(1,1)"),
    "sweep over no files": ("there are none for freeze", "-m", "freeze=glob(zzz*)"),
    "values without -m": (r"has one value of each key; got optimizer\.lr=1,2\..*\n.* -m optim", "optimizer.lr=1,2"),
    "device": ("trainer cannot be built: You selected an invalid accelerator", "trainer.accelerator=abacus"),
    "a crowd": (r"trainer\.devices must be at most", "trainer.devices=10000"),
    "trainer's key": (r"trainer\.foo is not a key of this config", "+trainer.foo=1"),
    "optimizer's key": ("optimizer cannot be built: .*unexpected keyword argument 'foo'", "+optimizer.foo=1"),
    "optimizer": ("optimizer cannot be built: .*os.system", "optimizer._target_=os.system"),
    "schedule": ("scheduler cannot be built", "scheduler.schedule._target_=src.modules.optimizers.none"),
    "head": ("model cannot be built", "model._target_=os.system"),
    "module that is nowhere": (
        "No module named 'nowhere'.*\n.* in a folder of PYTHONPATH",
        "freeze._target_=nowhere.S",
    ),
    "no strategy": (
        r"freeze\._target_ must name a src\.freezing\.\S+Strategy; fractions",
        "freeze._target_=fractions.Fraction",
        "~freeze.reinit_top",
    ),
    "no callback": (r"callbacks\.x\._target_ must name a \S+Callback; builtins", "+callbacks.x._target_=builtins.list"),
    "no logger": (r"logger\.x\._target_ must name a \S+Logger; builtins", "+logger.x._target_=builtins.list"),
    "pretrain": ("pretrain must hold sections", "pretrain=3"),
    "pretrain without masks": ("pretrain must be masked language", "pretrain={model:{}}"),
    "resume nothing": (r"^run must be the folder of a run; it has no config\.yaml", "resume=true"),
    "run in a file": ("The run folder must be writable", "run=input"),
    "run below a file": ("The run folder must be writable", "run=input/below"),
    "run where nothing can be made": ("The run folder must be writable", "run=/proc/no/such"),
    "checkpoints where nothing can be made": (
        "/proc/no must be a folder that can be",
        "callbacks.checkpoint.folder=/proc/no",
    ),
    "logs where nothing can be made": ("/proc/no must be a folder that can be", "logger.tensorboard.save_dir=/proc/no"),
    "logs below a file": ("must be a folder that can be made and written", "logger.tensorboard.save_dir=input/below"),
    "run with a long name": ("The run folder must be writable", f"run={'a' * 300}"),
    "run here": (r"run must be a folder of its own; \. is the current one", "run="),
}

# A file of experiment=mine in the user's own --config-dir.
FILES: dict[str, tuple[bytes, str]] = {
    "duplicate key": (b"seed: 1\nseed: 2", r'mine\.yaml", line 2, column 1\s+found duplicate key seed'),
    "python object": (b'seed: !!python/object/apply:os.mkdir ["made"]', "could not determine a constructor"),
    "open list": (b"seed: [1", r"(?s)be YAML in UTF-8.*mine\.yaml\", line 2"),
    "deep list": (b"seed: " + b"[" * 1000, "recursion"),
    "not UTF-8": (b"seed: \xff", "utf-8"),
    "zero byte": (b"seed: \0", "special characters are not allowed"),
    "list": (b"- 1", "Cannot merge"),
    "number": (b"!!int 3", "The config cannot be composed: Invalid loaded object type: int"),
    "list for a key": (b"? [1]\n: 3", "found unhashable key"),
    "no list of defaults": (b"defaults: 3", "defaults must be a list"),
    "unknown default": (
        b"defaults:\n - override /freeze: bottm",
        r"^freeze has no option 'bottm'\.\nDid you mean bottom\?",
    ),
    "reference for a strategy": (b"freeze: ${seed}", "freeze has an invalid value: 42"),
    "unknown key": (b"data:\n  limitt: 3", r"data\.limitt is not a key of this config\.\nDid you mean limit\?"),
}


@pytest.fixture(autouse=True)
def ordinary_user() -> Iterator[None]:
    """Whoever runs the tests."""
    undo = become_ordinary()
    yield
    undo()


@pytest.fixture
def refused(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs the command in this process, in an empty folder; returns what it says of the mistake."""
    tiny = [
        f"backbone.name={tiny_bert}",
        "data.max_length=32",
        "model=bert_linear",
        "trainer=cpu",
        f"data.path={REVIEWS}",
        f"cache={tiny_bert.parent / 'cache'}",
    ]

    def run(*arguments: str) -> str:
        # Without --run Hydra composes everything twice, to see whether it is a sweep.
        flags = [a for a in arguments if a.startswith("-")] or ["--run"]
        keys = {a.partition("=")[0].lstrip("~") for a in arguments}
        usual = tiny if "-m" in arguments else [*tiny, "run=run"]
        given = [a for a in usual if a.partition("=")[0] not in keys and not ("data" in keys and "path" in a)]
        monkeypatch.chdir(tmp_path)
        before = listing(tmp_path)
        said = refusal("train", [*flags, *given, *(a for a in arguments if a not in flags)], capsys)
        assert listing(tmp_path) == before
        assert not (tmp_path / "run").exists()
        return said

    return run


def listing(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_used_is_refused(case: str, refused: Refused, tmp_path: Path) -> None:
    name, content, message, *overrides = DATA[case]
    said = refused("data=table", f"data.path={put(tmp_path / name, content)}", *overrides)
    assert re.search(message, said), said


@pytest.mark.parametrize("case", CONFIG)
def test_a_config_that_cannot_be_used_is_refused(case: str, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "input").touch()
    message, *overrides = CONFIG[case]
    said = refused(*overrides)
    assert re.search(message, said), said


@pytest.mark.parametrize("case", FILES)
def test_a_config_file_that_cannot_be_used_is_refused(case: str, refused: Refused, tmp_path: Path) -> None:
    content, message = FILES[case]
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"# @package _global_\n" + content)
    said = refused("--config-dir=conf", "experiment=mine")
    assert re.search(message, said), said


def test_a_key_with_dashes_is_told_how_to_write_it(refused: Refused) -> None:
    assert refused("--freeze=none").endswith("Did you mean freeze=none?\n")


def test_an_option_of_a_group_of_hydra_is_told_those_that_there_are(refused: Refused) -> None:
    said = refused("hydra/launcher=slurm")
    assert said.startswith("hydra/launcher has no option 'slurm'.\nThere are: basic, joblib, processes")


def test_a_variable_that_is_not_set_is_named(refused: Refused) -> None:
    assert refused("monitor.metric=${oc.env:NOT_SET}").endswith("Set it: export NOT_SET=…\n")


def test_a_folder_of_configs_that_is_none_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "--config-dir must be a folder" in refused("--config-dir=misspelt", "experiment=mine")
    assert "file is not a folder" in refused("--config-dir=file", "experiment=mine")


def test_an_experiment_without_its_package_is_told_the_line(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("seed: 1")
    assert "with the line: # @package _global_" in refused("--config-dir=conf", "experiment=mine")


def test_a_resume_that_names_no_run_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "none is named.\nGive run=FOLDER" in refusal("train", ["resume=true"], capsys)
    assert not listing(tmp_path)


def test_an_old_sweep_that_cannot_be_read_is_no_obstacle(refused: Refused, tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\xff", b"[1]", b"[")):
        (tmp_path / "outputs" / "sweeps" / str(number)).mkdir(parents=True)
        (tmp_path / "outputs" / "sweeps" / str(number) / "command.json").write_bytes(content)
    assert "there are none for seed" in refused("-m", "seed=range(0,0)")


MEASURED = """
import os, sys
arguments = [sys.executable, "-m", "src.train", "data=table", *sys.argv[1:]]
_, status, usage = os.wait4(os.posix_spawn(sys.executable, arguments, os.environ), 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
NASTY = (
    "endless object",
    "endless blanks",
    "gzip bomb",
    "a field of 10 MB",
    "a text of 10 MB",
    "zip bomb in bytes",
    "entity bomb",
    "nesting",
    "all nul",
)


@pytest.mark.parametrize("case", NASTY)
def test_hostile_files_are_refused_in_little_memory(case: str, tmp_path: Path) -> None:
    name, content, message, *_ = DATA[case]
    path = put(tmp_path / name, content)
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, f"run={tmp_path / 'run'}", f"data.path={path}"],
        capture_output=True,
        text=True,
        cwd=CONF.parent,
        check=False,
        timeout=60,
    )
    code, peak = ended.stdout.split()
    assert (int(code), list(tmp_path.iterdir())) == (2, [path])
    assert re.search(message, ended.stderr)
    assert int(peak) < 1 << 20  # KiB
