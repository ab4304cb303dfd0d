"""The texts and labels of a run in three splits. They are checked here and nowhere after."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.config.data import Data
from src.data.label_columns import read_labels
from src.data.label_matching import check_numbering, encode
from src.data.label_task import label_space
from src.data.label_values import number, warn_of_variants
from src.data.labels import LabelSpace
from src.data.stratify import Indices, stratified
from src.errors import UserError
from src.tables import sources
from src.tables.tables import Table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Args:
        rows: int64 [examples], row numbers in the file.
        texts: of the examples.
        targets: int64 [examples] label indices, all 0 without labels; float32 [examples, labels] of 0 and 1 for
            multi-label data.
    """

    rows: NDArray[np.int64]
    texts: list[str]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Indices) -> Split:
        return Split(self.rows[indices], [self.texts[i] for i in indices], self.targets[indices])


@dataclass(frozen=True)
class Corpus:
    """All examples of a run."""

    space: LabelSpace
    splits: dict[str, Split]  # train, validation, test

    def describe(self) -> str:
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        if self.space.objective == "mlm":
            return f"masked language modelling; {sizes} texts"
        names = ", ".join(self.space.names[:10]) + (", …" if len(self.space.names) > 10 else "")
        return f"{self.space.objective} with {len(self.space.names)} labels ({names}); {sizes} texts"

    def label_weights(self) -> NDArray[np.float32]:
        """Returns the weight of each label in a balanced loss, float32 [labels].

        Single-label: examples / (labels x examples with the label), as scikit-learn's `balanced`. Multi-label: examples
        without the label / examples with it, the weight of the positive term.
        """
        targets = self.splits["train"].targets
        if targets.ndim == 2:
            with_label = np.maximum(targets.sum(0), 1)
            return np.asarray((len(targets) - with_label) / with_label, dtype=np.float32)
        counts = np.bincount(targets, minlength=len(self.space.names))
        return np.asarray(len(targets) / (len(counts) * np.maximum(counts, 1)), dtype=np.float32)


def load(cfg: Data, masked: bool = False) -> Corpus:
    """Reads the data of a run, encodes the labels and creates the missing splits.

    Args:
        cfg: the data section.
        masked: read only the texts, for masked language modelling; labels are ignored.

    Raises:
        UserError: something in the data cannot be used.
    """
    found = sources.read_splits(cfg)
    space, targets = _unlabelled(found) if masked else _labelled(found, cfg)
    given = {name: _split(table, targets[name], cfg) for name, table in found.items()}
    splits = _make_missing(given, space, cfg, found["train"])
    if cfg.limit:
        sources_of = {name: found.get(name, found["train"]).source for name in splits}
        splits = {name: _limited(split, cfg.limit, cfg.seed, sources_of[name]) for name, split in splits.items()}
    _warn_of_duplicates(splits)
    corpus = Corpus(space, splits)
    inferred = "Inferred the task" if cfg.task == "auto" and not masked else "Task"
    log.info("%s: %s", inferred, corpus.describe())
    return corpus


def _labelled(found: dict[str, Table], cfg: Data) -> tuple[LabelSpace, dict[str, NDArray[Any]]]:
    sources.refuse_hidden(found, cfg)
    given = {name: read_labels(table, cfg) for name, table in found.items()}
    train = given["train"]
    space = label_space(train, cfg)
    if not space.vectors:
        warn_of_variants((v for row in train.rows for v in row), train.table.source)
    targets = {name: encode(labels, space, cfg) for name, labels in given.items()}
    check_numbering(train, targets["train"], space, cfg)
    return space, targets


def _unlabelled(found: dict[str, Table]) -> tuple[LabelSpace, dict[str, NDArray[Any]]]:
    return LabelSpace("mlm", ()), {name: np.zeros(len(table.rows), dtype=np.int64) for name, table in found.items()}


def _split(table: Table, targets: NDArray[Any], cfg: Data) -> Split:
    texts = table.texts(cfg.text, "data.text")
    blank = [i for i, text in enumerate(texts) if not text.strip()]
    fix = "Fill them in or delete them."
    if table.source.endswith(".xlsx"):
        fix += " Of formulas, the saved value is read: open the workbook in Excel and save it."
    table.refuse(blank, f"no text in column {cfg.text!r}", fix)
    return Split(np.array(table.rows, dtype=np.int64), texts, targets)


def _make_missing(given: dict[str, Split], space: LabelSpace, cfg: Data, source: Table) -> dict[str, Split]:
    """Takes the missing splits from train; the fractions are of all its rows."""
    train = given["train"]
    shares = {"validation": cfg.validation_fraction, "test": cfg.test_fraction}
    missing = {name: share for name, share in shares.items() if name not in given}
    if missing and space.names:
        _check_counts(train, space, 1 + len(missing), source)
    splits = dict(given)
    remaining, rows = train, len(train)
    for name, share in missing.items():
        key = f"data.{name}_fraction={share:g}"
        chosen = _stratified(remaining, round(rows * share), cfg.seed, key, source.source, both_sides=True)
        splits[name] = remaining.take(chosen)
        remaining = remaining.take(np.setdiff1d(np.arange(len(remaining)), chosen))
    if missing:
        cut = " and ".join(f"{len(splits[name]):,} rows for {name}" for name in missing)
        log.info("Taken from the %s rows of train, since no such split is given: %s", f"{rows:,}", cut)
    splits["train"] = remaining
    return {name: splits[name] for name in ("train", "validation", "test")}


def _check_counts(split: Split, space: LabelSpace, parts: int, source: Table) -> None:
    with_label = split.targets[:, None] == np.arange(len(space.names)) if split.targets.ndim == 1 else split.targets > 0
    rows = {name: split.rows[with_label[:, i]] for i, name in enumerate(space.names)}
    rare = {name: f"{name!r} ({_places(found, source.unit)})" for name, found in rows.items() if len(found) < parts}
    if rare:
        numbers = "" if None in map(number, space.names) else " Numbers are classes here; there is no regression."
        raise UserError(
            f"Each label needs at least {parts} rows, so that each of {parts} splits gets one; labels with fewer in "
            f"{source.source}: {', '.join(list(rare.values())[:8])}{', …' if len(rare) > 8 else ''}.\n"
            "Add rows, merge or remove these labels, or give the splits "
            f"as files: data.path=DIR with train, validation and test.{numbers}"
        )


def _places(rows: NDArray[np.int64], unit: str) -> str:
    return f"{len(rows)}: {unit} {', '.join(map(str, rows))}" if len(rows) else "0"


def _limited(split: Split, limit: int, seed: int, source: str) -> Split:
    if limit >= len(split):
        return split
    return split.take(_stratified(split, limit, seed, f"data.limit={limit}", source, both_sides=False))


def _stratified(split: Split, count: int, seed: int, key: str, source: str, both_sides: bool) -> Indices:
    """Returns `count` indices, in order, whose labels are distributed as in the split.

    Args:
        split: to sample from.
        count: of rows to take.
        seed: of the sampling.
        key: the override that asks for them, for messages.
        source: of the split.
        both_sides: whether the remaining rows are a split too.

    Raises:
        UserError: there are too few rows.
    """
    rows, least = len(split), [1]
    if split.targets.ndim == 1:
        least = np.unique(split.targets, return_counts=True)[1].tolist()
    labels, sides = len(least), " on both sides" if both_sides else ""
    if not labels <= count <= rows - (labels if both_sides else 1):
        needed = f"A stratified split needs at least one row per label{sides}, here {labels}"
        raise UserError(
            f"{needed if labels > 1 else f'A split needs at least one row{sides}'}; "
            f"{key} takes {count} of the {f'{rows} rows' if rows > 1 else 'one row'} left of {source}.\n"
            f"Change {key.partition('=')[0]}, add rows, or give the splits as files: data.path=DIR."
        )
    if both_sides and labels > 1 and min(least) < 2:
        raise UserError(
            f"A stratified split needs at least one row per label on both sides; for {key}, a label has only one row "
            f"left in {source}.\nTake smaller fractions, add rows, or give the splits as files: data.path=DIR."
        )
    return stratified(split.targets, count, seed)


def _warn_of_duplicates(splits: dict[str, Split]) -> None:
    seen = {name: Counter(split.texts) for name, split in splits.items()}
    names = list(seen)
    pairs = [(a, b, len(seen[a].keys() & seen[b].keys())) for i, a in enumerate(names) for b in names[i + 1 :]]
    for a, b, count in pairs:
        if count:
            texts = "1 text occurs" if count == 1 else f"{count:,} texts occur"
            log.warning("%s in both %s and %s (leakage): scores on them say little about new texts.", texts, a, b)
