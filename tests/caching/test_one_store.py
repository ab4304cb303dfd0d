"""One store for all splits of the same texts: folds, repeats, subsets of the training texts, other cuts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from src.caching import encoding
from src.errors import UserError
from src.runs.folder import RunFolder
from tests.conftest import review_texts
from tests.data.test_data import write_csv

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
LABELS = ("negative", "neutral", "positive")
REVIEWS = [(text, LABELS[i % 3]) for i, text in enumerate(review_texts()[:60])]
DIVISIONS = [
    ("data.folds=5", "data.fold=0"),
    ("data.folds=5", "data.fold=3", "data.repeat=2"),
    ("data.folds=3", "data.fold=1", "data.seed=7", "data.train_size=0.5"),
    ("data.train_size=10",),
    ("data.train_size=0.75", "seed=3"),
    ("data.validation_fraction=0.4",),
]
FROZEN = ("freeze=all model=bert_linear", "freeze=bottom freeze.layers=2 model=bert_linear", "freeze=all")


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, ...]:
    path = write_csv(tmp_path / "data.csv", REVIEWS)
    return ("data=table", f"data.path={path}", "data.max_length=32", "data.limit=null", "trainer.max_epochs=1")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each batch of the encoding pass had so far."""
    found: list[int] = []
    real = encoding._encode

    def counted(recipe: Any, tokens: Any, rows: Any, trainer: Any) -> Any:
        found.append(len(rows))
        return real(recipe, tokens, rows, trainer)

    monkeypatch.setattr(encoding, "_encode", counted)
    return found


@pytest.mark.parametrize("frozen", FROZEN[:2])
@pytest.mark.slow
def test_all_divisions_of_the_same_texts_encode_each_text_once(
    frozen: str, data: tuple[str, ...], encoded: list[int], run_tiny: Run, tmp_path: Path
) -> None:
    sizes = set()
    for number, division in enumerate(DIVISIONS):
        _, result = run_tiny(*data, *frozen.split(), *division, "activations=require", name=str(number))
        sizes.add(result["phases"][0]["activations"]["bytes"])
        assert sum(encoded) == len(REVIEWS)
    assert len(sizes) == len([*(tmp_path / "cache" / "activations").glob("*/")]) == 1
    assert len([*(tmp_path / "cache" / "tokens").glob("*.arrow")]) == 1


@pytest.mark.parametrize("frozen", FROZEN)
@pytest.mark.parametrize("division", DIVISIONS[1:4])
def test_what_a_split_reads_from_the_store_is_what_is_computed_live(
    division: tuple[str, ...], frozen: str, data: tuple[str, ...], run_tiny: Run
) -> None:
    options = (*data, *frozen.split(), *division)
    live, before = run_tiny(*options, "activations=off", name="live")
    stored, after = run_tiny(*options, "activations=require", name="stored")
    for epoch, other in zip(before["history"], after["history"], strict=True):
        assert other["train/loss"] == pytest.approx(epoch["train/loss"], abs=1e-4)
    for split in ("validation", "test"):
        tables = [predictions(folder, split) for folder in (live, stored)]
        assert tables[0]["row"].equals(tables[1]["row"])
        found = [np.array(table["probabilities"].to_pylist()) for table in tables]
        # Different texts differ by more than this, so that another text in a place would be noticed.
        assert np.ptp(found[0], axis=0).max() > 1e-3
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def predictions(folder: RunFolder, split: str) -> Any:
    return pyarrow.parquet.read_table(folder.path / "predictions" / f"{split}.parquet")


def test_the_predictions_of_all_folds_have_each_text_of_all_files_once(run_tiny: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, part in {"train": REVIEWS[:30], "validation": REVIEWS[30:45], "test": REVIEWS[45:]}.items():
        write_csv(folder / f"{name}.csv", part)
    rows, texts = [], []
    for fold in range(3):
        options = ("data=table", f"data.path={folder}", "data.max_length=32", "data.limit=null", "data.folds=3")
        run, result = run_tiny(*options, f"data.fold={fold}", "model=bert_linear", name=str(fold))
        assert result["fold"] == {"folds": 3, "fold": fold, "repeat": 0}
        assert result["texts"] == {"train": 32, "validation": 8, "test": 20}
        assert run.read_result()["fold"] == result["fold"]
        table = predictions(run, "test")
        rows += table["row"].to_pylist()
        texts += table["text"].to_pylist()
    assert len({*rows}) == len(rows) == len(REVIEWS)
    assert [text for _, text in sorted(zip(rows, texts, strict=True))] == [text for text, _ in REVIEWS]


def test_masked_language_modelling_has_folds_and_a_pretraining_in_the_same_command_has_none(
    data: tuple[str, ...], run_tiny: Run
) -> None:
    fold = ("data.folds=4", "data.fold=1", "data.train_size=20")
    _, result = run_tiny(*data, *fold, "model=bert_mlm", "freeze=none", "backbone.lr=1e-4")
    assert result["texts"] == {"train": 20, "validation": 9, "test": 15}
    assert result["fold"]["fold"] == 1
    with pytest.raises(UserError, match=r"need data\.folds=null, .*; got 4\.\nPretrain on other texts first"):
        run_tiny(*data, *fold[:2], "experiment=mlm_then_classify", "backbone=minilm", "model=bert_linear", name="both")
