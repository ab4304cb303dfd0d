"""Warnings about texts that a model cannot read completely."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from datasets import Dataset

from src import predict
from src.config.reading import Reading
from src.datamodules.ragged import Tokens
from src.datamodules.text_problems import _proposal, find_problems
from src.datamodules.tokenizing import fingerprint, token_columns, tokenize
from src.predict import Predictor
from src.runs.folder import RunFolder
from tests.conftest import composed_for, review_texts

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
NOTHING, STRANGE = "\u200b\u200d", "\U0001f600 \U0001f621"  # without width; not in the vocabulary
FEW = 12  # tokens


@pytest.fixture
def texts() -> list[str]:
    return ["good", NOTHING, STRANGE, f"good {STRANGE}", "good " * 10, "good " * 11, "good " * 90, f"{STRANGE} " * 30]


def test_what_is_not_read_is_found(
    texts: list[str], tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    found = tokenize(texts, tokenizer, Reading(FEW), tmp_path)
    assert found.full_lengths.tolist() == [len(tokenizer(text)["input_ids"]) for text in texts]
    problems = find_problems(found, tokenizer, pairs=False)
    assert problems.empty.tolist() == [1]
    assert problems.unknown.tolist() == [2, 7]
    assert problems.truncated.tolist() == [5, 6, 7]  # ten words and two special tokens fit
    again = tokenize(texts, tokenizer, Reading(FEW), tmp_path)
    assert again.full_lengths.tolist() == found.full_lengths.tolist()


def test_a_tokenizer_without_unknown_or_special_tokens_is_none_to_stumble_over(
    tokenizer: transformers.PreTrainedTokenizerFast,
) -> None:
    class Plain:
        unk_token_id = None

        def num_special_tokens_to_add(self, pair: bool) -> int:
            return 0

    tokens = Tokens(np.array([7, 8, 9]), np.array([2, 0, 1]), np.array([5, 0, 1]))
    plain: Any = Plain()
    problems = find_problems(tokens, plain, pairs=False)
    assert (problems.empty.tolist(), problems.unknown.tolist(), problems.truncated.tolist()) == ([1], [], [0])


def test_cached_tokens_of_an_older_version_are_made_anew(
    texts: list[str], tokenizer: transformers.PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    file = tmp_path / "tokens" / f"{fingerprint(texts, tokenizer, Reading(FEW))}.arrow"
    file.parent.mkdir()
    ids = token_columns([texts], tokenizer, Reading(FEW))["ids"]
    rows = Dataset.from_dict({"text": texts})
    rows.map(lambda _, i: {"ids": ids[i]}, with_indices=True, remove_columns=["text"], cache_file_name=str(file))
    assert file.exists()
    found = tokenize(texts, tokenizer, Reading(FEW), tmp_path)
    assert found.full_lengths.tolist() == [len(tokenizer(text)["input_ids"]) for text in texts]


@pytest.mark.parametrize(
    ("lengths", "max_length", "longest", "said"),
    [
        ([10] * 90 + [200] * 10, 128, 512, "The longest has 200; data.max_length=208 truncates 0.0% of all."),
        (
            [10] * 90 + [734] * 10,
            128,
            512,
            "The longest has 734; data.max_length=512 truncates 10.0% of all, and this ",
        ),
        ([10] * 90 + [734] * 10, 512, 512, "The longest has 734; this backbone reads no more than 512."),
        ([10] * 999 + [5_000], 128, 8_192, "The longest has 5,000."),  # for one in a thousand, no run has to be slower
    ],
)
def test_a_length_is_proposed_that_reads_nearly_all(
    lengths: list[int], max_length: int, longest: int, said: str
) -> None:
    assert _proposal(np.array(lengths), max_length, longest).startswith(said)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [(text, label) for text in review_texts()[:30] for label in ("no", "yes")]
    rows[3], rows[8], rows[10] = (NOTHING, "yes"), (STRANGE, "no"), (NOTHING + "\u2060", "no")
    with (tmp_path / "odd.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return tmp_path / "odd.csv"


def test_a_training_says_what_it_does_not_read(
    run_tiny: Run, table: Path, tokenizer: transformers.PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    run_tiny("data=table", f"data.path={table}", "model=bert_linear", "data.max_length=16", "data.limit=null")
    rows: dict[str, list[int]] = {"gives no token": [], "gives only unknown tokens": []}
    for what, numbers in rows.items():
        for line in re.findall(rf"{what} for \d+ texts? in \w+.*?: rows? ([\d, ]+)", caplog.text):
            numbers += map(int, line.split(", "))
    assert {what: sorted(numbers) for what, numbers in rows.items()} == {
        "gives no token": [5, 12],
        "gives only unknown tokens": [10],
    }
    with table.open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    longer = sum(len(tokenizer(text)["input_ids"]) > 16 for text in texts)
    (said,) = re.findall(r"truncated at data\.max_length=16 tokens: (.*?)\. ", caplog.text)
    counts = re.findall(r"(\d+) of (\d+) in (\w+) \((\d+\.\d%)\)", said)
    assert [name for *_, name, _ in counts] == ["train", "validation", "test"]
    assert sum(int(cut) for cut, *_ in counts) == longer
    assert sum(int(of) for _, of, *_ in counts) == 60
    assert all(share == f"{int(cut) / int(of):.1%}" for cut, of, _, share in counts)


def test_a_training_that_reads_all_says_nothing_of_it(
    run_tiny: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "short.csv").write_text("text,label\n" + "".join(f"good {i},{i % 2}\n" for i in range(40)))
    run_tiny("data=table", f"data.path={tmp_path / 'short.csv'}", "data.limit=null", "model=bert_linear")
    assert not re.search("gives no token|gives only unknown tokens|are truncated at", caplog.text)


def test_a_file_is_labelled_with_what_was_not_read(
    finished: RunFolder, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predict.predict(composed_for("predict", run=str(finished.path), input=str(table), output=str(tmp_path / "out.csv")))
    assert re.search(r"gives no token for 2 texts .*: lines 5, 12; their labels are meaningless", caplog.text)
    assert "gives only unknown tokens for 1 text: line 10; their labels are meaningless" in caplog.text
    predictor = Predictor.load(finished.path)
    with table.open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    longer = sum(len(predictor.tokenizer(text)["input_ids"]) > 32 for text in texts)
    assert longer
    assert f"{longer} texts ({longer / 60:.1%}) were truncated to 32 tokens, as in training" in caplog.text
    with (tmp_path / "out.csv").open(newline="") as file:
        assert all(row["prediction"] for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NOTHING, "The tokenizer gives no token for the text (control"),
        (STRANGE, "The tokenizer gives only unknown tokens for the text; its prediction is meaningless"),
        ("good " * 90, "The text is truncated from 92 to 32 tokens, as in training."),
        ("good", None),
    ],
)
def test_a_text_is_answered_with_what_was_not_read(
    text: str, said: str | None, finished: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = Predictor.load(finished.path)
    caplog.clear()
    assert len(predict.format_prediction(predictor, text, 5).splitlines()) == 3
    assert [message.startswith(said or "") for message in caplog.messages] == ([] if said is None else [True])
