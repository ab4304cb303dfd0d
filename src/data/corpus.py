"""The texts and labels of a run in three splits. They are checked here and nowhere after."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from src.arrays import NDArray
from src.config.data import Data
from src.data.cuts import limited, make_missing, training_subset
from src.data.folds import Fold, cut_fold
from src.data.label_columns import read_labels
from src.data.label_matching import check_numbering, encode
from src.data.label_task import label_space
from src.data.label_values import warn_of_variants
from src.data.labels import LabelSpace
from src.data.split import Split
from src.data.target_values import read_targets, standardised, target_columns
from src.data.texts import Text, read_texts, sides
from src.errors import UserError, listed, nearest
from src.tables import sources
from src.tables.splits import SPLITS
from src.tables.tables import Table, join

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """All examples of a run.

    Args:
        space: the objective and the labels.
        splits: train, validation, test.
        texts: of all splits, in the order of the files, with training texts that `data.train_size` leaves out.
        fold: of a cross-validation; None without one.
    """

    space: LabelSpace
    splits: dict[str, Split]
    texts: list[Text]
    fold: Fold | None = None

    def describe(self) -> str:
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        if self.space.objective == "mlm":
            return f"masked language modelling; {sizes} texts"
        if self.space.is_regression:
            ranges = zip(self.space.names, self.space.mean, self.space.std, strict=True)
            return f"regression of {listed(f'{n} (mean {m:.3g}, SD {s:.3g})' for n, m, s in ranges)}; {sizes} texts"
        names = ", ".join(self.space.names[:10]) + (", …" if len(self.space.names) > 10 else "")
        return f"{self.space.objective} with {len(self.space.names)} labels ({names}); {sizes} texts"

    def label_weights(self, given: Mapping[str, float] | Literal["balanced"]) -> NDArray[np.float32]:
        """Returns the weight of each label in the loss, float32 [labels]; multi-label: of its positive term.

        Args:
            given: by label, 1 for the others; or `balanced`. Single-label: examples / (labels x examples with the
                label), as in scikit-learn. Multi-label: examples without the label / examples with it.
        """
        if given != "balanced":
            return np.array([given.get(name, 1.0) for name in self.space.names], dtype=np.float32)
        targets = self.splits["train"].targets
        if targets.ndim == 2:
            with_label = targets.sum(0)
            # Of a label that all or no texts have, as if one was otherwise: with the weight 0 it would not be learned.
            return np.asarray(np.maximum(len(targets) - with_label, 1) / np.maximum(with_label, 1), dtype=np.float32)
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
    found, fold = _tables(cfg, masked), Fold.of(cfg)
    space, targets = _unlabelled(found) if masked else _labelled(found, cfg)
    given = _given(found, targets, space, cfg)
    source = found["train"].source
    if fold:
        whole = limited(given["train"], cfg.limit, cfg.seed, source)
        splits = cut_fold(whole, fold, space, cfg, source)
    else:
        sources_of = {name: found.get(name, found["train"]).source for name in SPLITS}
        splits = make_missing(given, space, cfg, found["train"])
        splits = {name: limited(split, cfg.limit, cfg.seed, sources_of[name]) for name, split in splits.items()}
    texts, splits = _with_texts(splits, [text for split in given.values() for text in split.texts])
    if cfg.train_size is not None:
        splits["train"] = training_subset(splits["train"], cfg.train_size, cfg.seed, source)
    if space.is_regression:
        space = standardised(space, splits["train"].targets, source)
    _warn_of_duplicates(splits)
    _warn_of_unlearned(splits, space)
    corpus = Corpus(space, splits, texts, fold)
    _check_balance(cfg, space)
    inferred = "Inferred the task" if cfg.task == "auto" and not masked else "Task"
    log.info("%s: %s", inferred, corpus.describe())
    return corpus


def _check_balance(cfg: Data, space: LabelSpace) -> None:
    """
    Raises:
        UserError: a weight is of no label, or texts cannot be sampled by label.
    """
    if cfg.sampling and space.objective == "multilabel":
        raise UserError(
            "data.sampling=balanced needs texts with one label each; these have several.\n"
            "Leave it out, or weight the labels in the loss: data.class_weights=balanced."
        )
    if cfg.sampling and space.objective == "mlm":
        raise UserError("data.sampling=balanced needs labels; model=bert_mlm reads none.\nLeave it out.")
    for name in cfg.class_weights if isinstance(cfg.class_weights, dict) and space.names else ():
        if name not in space.names:
            raise UserError(f"data.class_weights must name labels; {name!r} is none.\n{nearest(name, space.names)}")


def sampled(corpus: Corpus, most: int, seed: int, key: str) -> Corpus:
    """Returns the corpus with at most so many texts per split, stratified by label.

    Args:
        corpus: the whole.
        most: texts of each split.
        seed: of the sampling.
        key: the config key that gives their number, for messages.

    Raises:
        UserError: there are more labels than texts to take.
    """
    if all(len(split) <= most for split in corpus.splits.values()):
        return corpus
    splits = {name: limited(split, most, seed, name, key) for name, split in corpus.splits.items()}
    texts, splits = _with_texts(splits, corpus.texts)
    return dataclasses.replace(corpus, splits=splits, texts=texts)


def _tables(cfg: Data, masked: bool) -> dict[str, Table]:
    """Returns the tables by split; for a cross-validation, a single one of all given splits."""
    found = sources.read_splits(cfg)
    if not masked:
        sources.refuse_hidden(found, cfg)
    found = {name: found[name] for name in SPLITS if name in found}
    if cfg.folds and len(found) > 1:
        names = " and ".join(f"{name} ({len(table.rows):,} rows)" for name, table in found.items())
        log.info("Cross-validation divides all texts; the given splits are pooled: %s", names)
        _check_columns(found, cfg, masked)
        found = {"train": join([*found.values()], str(cfg.path or cfg.name))}
    return found


def _check_columns(found: dict[str, Table], cfg: Data, masked: bool) -> None:
    """
    Raises:
        UserError: a table lacks a column that is read; joined with others, its rows would seem to be empty.
    """
    labels = [] if masked or cfg.label is None else cfg.label if isinstance(cfg.label, list) else [cfg.label]
    for table in found.values():
        for name in cfg.text_columns:
            table.column(name, "data.text")
        for name in labels:
            table.column(name, "data.label")


def _labelled(found: dict[str, Table], cfg: Data) -> tuple[LabelSpace, dict[str, NDArray[Any]]]:
    if cfg.task == "regression":
        space = LabelSpace("regression", tuple(target_columns(cfg)))
        return space, {name: read_targets(table, cfg) for name, table in found.items()}
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


def _given(found: dict[str, Table], targets: dict[str, NDArray[Any]], space: LabelSpace, cfg: Data) -> dict[str, Split]:
    splits, begin = {}, 0
    for name, table in found.items():
        splits[name] = _split(table, targets[name], begin, space, cfg)
        begin += len(splits[name])
    return splits


def _split(table: Table, targets: NDArray[Any], begin: int, space: LabelSpace, cfg: Data) -> Split:
    texts = read_texts(table, cfg, "data.text")
    fix = "Fill them in or delete them."
    if table.source.endswith(".xlsx"):
        fix += " Of formulas, the saved value is read: open the workbook in Excel and save it."
    names = [" or ".join(map(repr, cfg.text_columns))] if cfg.join else [*map(repr, cfg.text_columns)]
    for name, column in zip(names, sides(texts), strict=True):
        blank = [i for i, text in enumerate(column) if not text.strip()]
        table.refuse(blank, f"no text in column {name}", fix)
    positions = np.arange(begin, begin + len(texts), dtype=np.int64)
    return Split(np.array(table.rows, dtype=np.int64), texts, targets, positions, space.is_regression)


def _with_texts(splits: dict[str, Split], texts: list[Text]) -> tuple[list[Text], dict[str, Split]]:
    """Returns the texts of all splits, in the order of `texts`, and the splits with their positions among them."""
    kept = np.sort(np.concatenate([split.positions for split in splits.values()]))
    return [texts[i] for i in kept], {
        name: dataclasses.replace(split, positions=np.searchsorted(kept, split.positions))
        for name, split in splits.items()
    }


def _warn_of_duplicates(splits: dict[str, Split]) -> None:
    seen = {name: {*split.texts} for name, split in splits.items()}
    names = list(seen)
    pairs = [(a, b, len(seen[a] & seen[b])) for i, a in enumerate(names) for b in names[i + 1 :]]
    for a, b, count in pairs:
        if count:
            texts = "1 text occurs" if count == 1 else f"{count:,} texts occur"
            log.warning("%s in both %s and %s (leakage): scores on them say little about new texts.", texts, a, b)


def _warn_of_unlearned(splits: dict[str, Split], space: LabelSpace) -> None:
    """Warns of labels that only other texts than those for training have: 0/1 columns and vectors name labels that need
    not occur, and a rare one may be lost where parts of multi-label data are taken."""
    if not space.names or space.is_regression:
        return
    labels = len(space.names)
    sides = (split.targets for split in splits.values())
    train, *others = (side.sum(0) if side.ndim == 2 else np.bincount(side, minlength=labels) for side in sides)
    if missing := [space.names[i] for i in np.flatnonzero((train == 0) & (sum(others) > 0))]:
        log.warning("No training text has the label %s, so that it cannot be learned; others have it.", listed(missing))
