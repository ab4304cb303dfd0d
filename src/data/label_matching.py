"""Matches values in files with labels, in every split and in later files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from src.arrays import NDArray
from src.config.data import Data
from src.data import label_vectors
from src.data.label_columns import Labels
from src.data.label_values import NUMBER, Value, folded, number, plain
from src.data.labels import LabelSpace
from src.errors import UserError, nearest

EXACT = 2**53  # floats represent all integers below it exactly


def names_of(given: Labels) -> tuple[set[str], frozenset[str]]:
    """Returns the names of all labels, and of those that also occur as numbers, truth values or dates. The number 1 is
    the same label as the text 1 or 1.0 in another row.

    Raises:
        UserError: both texts occur, so that the number is ambiguous.
    """
    values = sorted({v for row in given.rows for v in row})
    texts = {v.name for v in values if not v.typed}
    alike = defaultdict(list)
    for name in sorted(texts):
        alike[plain(name)].append(name)
    typed = set()
    for v in (v for v in values if v.typed):
        same = alike.get(plain(v.name), [v.name])
        if len(same) > 1:
            raise _ambiguous(v, same, given.first_with(v))
        typed.add(same[0])
    return texts | typed, frozenset(typed)


def encode(given: Labels, space: LabelSpace, cfg: Data) -> NDArray[np.float32] | NDArray[np.int64]:
    """Returns labels as targets: int64 [rows] label indices, or float32 [rows, labels] of 0 and 1 for multi-label.

    Args:
        given: the labels of the rows.
        space: the labels and objective of the run.
        cfg: says whether labels are indices into `data.label_names`.

    Raises:
        UserError: a row has a label that no training row has, or not exactly one for a single-label task.
    """
    table, several = given.table, space.objective == "multilabel"
    if space.vectors and given.kind != "flags":
        vectors = label_vectors.decode(given.rows, len(space.names), table)
        return vectors.astype(np.float32) if several else label_vectors.positions(vectors, table)
    indices = _indices(given, space, cfg)
    if not several:
        wrong = [i for i, row in enumerate(indices) if len(row) != 1]
        table.refuse(wrong, "a list of labels in a single-label task", "Give each row one label.")
        return np.array([row[0] for row in indices], dtype=np.int64)
    targets = np.zeros((len(indices), len(space.names)), dtype=np.float32)
    for i, row in enumerate(indices):
        targets[i, row] = 1
    return targets


def check_numbering(given: Labels, targets: NDArray[Any], space: LabelSpace, cfg: Data) -> None:
    """Checks that each of `data.label_names` occurs in the training rows.

    Args:
        given: the labels of the training rows.
        targets: the same, encoded.
        space: all labels.
        cfg: says whether labels are indices into `data.label_names`.

    Raises:
        UserError: an index does not occur, so that the labels may be numbered differently.
    """
    if not cfg.label_names or space.vectors:
        return
    counts = np.bincount(targets, minlength=len(space.names)) if targets.ndim == 1 else targets.sum(0)
    if missing := np.flatnonzero(counts == 0).tolist():
        raise UserError(
            f"Each of data.label_names must have training rows; {given.table.source} has none with {missing[0]}, "
            f"{space.names[missing[0]]!r}.\n"
            "Give the labels that occur, in your order, or names for numbers, counted from 0."
        )


def _indices(given: Labels, space: LabelSpace, cfg: Data) -> list[list[int]]:
    """Returns the label indices of each row.

    Raises:
        UserError: a value matches no label, or more than one.
    """
    find = _places(space) if cfg.label_names and given.kind != "flags" else finder(space)
    known = {v: find(v) for v in {v for row in given.rows for v in row}}
    for i, row in enumerate(given.rows):
        for v in row:
            if len(known[v]) > 1:
                raise _ambiguous(v, [space.names[label] for label in known[v]], given.place(i))
            if not known[v]:
                raise _unknown(v, space, given.place(i), cfg)
    found = {row: [known[v][0] for v in row] for row in {*given.rows}}  # once for all rows that have the same labels
    return [found[row] for row in given.rows]


def finder(space: LabelSpace) -> Callable[[Value], Sequence[int]]:
    """Returns a function from a value to the indices of the labels that it matches."""
    index = {name: i for i, name in enumerate(space.names)}
    alike = defaultdict(list)
    for name, i in index.items():
        alike[plain(name)].append(i)

    def find(v: Value) -> Sequence[int]:
        if v.typed:
            return alike.get(plain(v.name), ())
        if v.name in index:
            return (index[v.name],)
        if space.typed is None:
            return alike.get(plain(_as_number(v.name)), ())
        return [i for i in alike.get(plain(v.name), ()) if space.names[i] in space.typed]

    return find


def _places(space: LabelSpace) -> Callable[[Value], Sequence[int]]:
    """As `finder`, for labels that are indices into the names; or the names, unless these are numbers themselves."""
    places = {str(i): i for i in range(len(space.names))}
    if not any(NUMBER.fullmatch(name) for name in space.names):
        places |= {name: i for i, name in enumerate(space.names)}
    return lambda v: [places[name] for name in dict.fromkeys((plain(v.name), v.name)) if name in places][:1]


def _as_number(name: str) -> str:
    """Returns the name of a numeric label in runs of earlier versions, which read all numeric texts as numbers."""
    found = number(name)
    # Larger floats stand for several integers, which would merge different identifiers into one label.
    if found is None or not abs(found) < EXACT:
        return name
    return str(int(found)) if found.is_integer() else str(found)


def _unknown(v: Value, space: LabelSpace, place: str, cfg: Data) -> UserError:
    if cfg.label_names:
        return UserError(
            f"data.label_names must list all labels, or a name for each of the labels 0 to {len(space.names) - 1}; "
            f"{place} has {v}.\nName it too, number the labels from 0, or leave data.label_names out."
        )
    alike = [name for name in space.names if folded(name) == folded(v.name)]
    hint = nearest(v.name, space.names)
    if alike:
        hint = f"It differs from {alike[0]!a} only in case, whitespace, Unicode normalisation or the like."
    return UserError(
        f"Every label must occur in the training rows; {place} has {v}.\n"
        f"{hint} Add training rows with it, or remove these rows."
    )


def _ambiguous(v: Value, names: Sequence[str], place: str) -> UserError:
    return UserError(
        f"A label that is not a text must match one text in other rows; {place} has {v}, which may be "
        f"{' or '.join(map(repr, names))}.\nWrite all labels as texts, or all as numbers."
    )
