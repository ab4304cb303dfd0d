"""Cuts stratified splits from the training examples: those that are missing, a limited number, a nested subset."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from src.config.data import Data
from src.data.label_values import number
from src.data.labels import LabelSpace
from src.data.split import Split
from src.data.stratify import Indices, nested, stratified
from src.errors import UserError
from src.tables.tables import Table

log = logging.getLogger(__name__)


MOST_NAMED = 8  # labels with too few rows


def make_missing(given: dict[str, Split], space: LabelSpace, cfg: Data, source: Table) -> dict[str, Split]:
    """Takes the missing splits from train; the fractions are of all its rows.

    Raises:
        UserError: a label has too few rows, or a split would be empty.
    """
    train = given["train"]
    shares = {"validation": cfg.validation_fraction, "test": cfg.test_fraction}
    missing = {name: share for name, share in shares.items() if name not in given}
    if missing and space.names and not space.is_regression:
        _check_counts(train, space, 1 + len(missing), source)
    splits = dict(given)
    remaining, rows = train, len(train)
    for name, share in missing.items():
        key = f"data.{name}_fraction={share:g}"
        chosen = take_stratified(remaining, round(rows * share), cfg.seed, key, source.source, both_sides=True)
        splits[name] = remaining.take(chosen)
        remaining = remaining.take(np.setdiff1d(np.arange(len(remaining)), chosen))
    if missing:
        cut = " and ".join(f"{len(splits[name]):,} rows for {name}" for name in missing)
        log.info("Taken from the %s rows of train, since no such split is given: %s", f"{rows:,}", cut)
    splits["train"] = remaining
    return {name: splits[name] for name in ("train", "validation", "test")}


def limited(split: Split, limit: int | None, seed: int, source: str, key: str = "data.limit") -> Split:
    """Returns a stratified part of a split; the whole split if it has no more rows.

    Args:
        split: to sample from.
        limit: its rows at most; None: all.
        seed: of the sampling.
        source: of the split.
        key: the config key that gives the limit, for messages.

    Raises:
        UserError: there are more labels than rows to take.
    """
    if limit is None or limit >= len(split):
        return split
    return split.take(take_stratified(split, limit, seed, f"{key}={limit}", source, both_sides=False))


def training_subset(train: Split, size: int | float, seed: int, source: str) -> Split:
    """Returns a stratified subset of the training examples. A smaller one is contained in each larger one.

    Args:
        train: the whole training split.
        size: a number of examples, or a fraction of them up to 1.0.
        seed: of the sampling.
        source: of the split.

    Raises:
        UserError: there are fewer examples, or more labels than examples to take.
    """
    count = size if isinstance(size, int) else round(size * len(train))
    if count > len(train):
        raise UserError(
            f"data.train_size must be at most the number of training examples; it is {size}, and {source} leaves "
            f"{len(train):,} for training.\nLower it, or give a fraction: data.train_size=0.5."
        )
    if count < len(train):
        _check_room(train, count, f"data.train_size={size}", source, both_sides=False)
    log.info("Training on %s of %s examples (data.train_size=%s)", f"{count:,}", f"{len(train):,}", size)
    # The quantiles of numbers must be the same for all sizes, or the subsets would not be nested.
    return train.take(nested(train.classes(len(train) // 2), count, seed))


def _check_counts(split: Split, space: LabelSpace, parts: int, source: Table) -> None:
    targets, one = split.targets, split.targets.ndim == 1  # or several labels a row
    counts = np.bincount(targets, minlength=len(space.names)) if one else targets.sum(0)
    rare = np.flatnonzero(counts < parts).tolist()
    if rare:
        found = {i: np.flatnonzero(targets == i if one else targets[:, i]).tolist() for i in rare[:MOST_NAMED]}
        named = [f"{space.names[i]!r} ({_places(rows, source)})" for i, rows in found.items()]
        numbers = "" if None in map(number, space.names) else " Are they numbers to predict? data.task=regression"
        raise UserError(
            f"Each label needs at least {parts} rows, so that each of {parts} splits gets one; labels with fewer in "
            f"{source.source}: {', '.join(named)}{', …' if len(rare) > MOST_NAMED else ''}.\n"
            "Add rows, merge or remove these labels, or give the splits "
            f"as files: data.path=DIR with train, validation and test.{numbers}"
        )


def _places(rows: Sequence[int], source: Table) -> str:
    return f"{len(rows)}: {source.unit} {', '.join(source.places(rows))}" if rows else "0"


def take_stratified(split: Split, count: int, seed: int, key: str, source: str, both_sides: bool) -> Indices:
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
    _check_room(split, count, key, source, both_sides)
    return stratified(split.classes(count), count, seed)


def _check_room(split: Split, count: int, key: str, source: str, both_sides: bool) -> None:
    rows, least = len(split), [1]
    if split.targets.ndim == 1:  # labels; quantiles of numbers are as wide as needed
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
