"""Which of the labels a value in a file is, in every split and in files that come later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.config.data import Data
from src.data import label_vectors
from src.data.label_columns import Labels
from src.data.label_values import NUMBER, Value, folded, number, plain
from src.data.labels import LabelSpace
from src.errors import UserError, nearest

EXACT = 2**53  # below it every whole number is a float of its own


def names_of(given: Labels) -> tuple[set[str], frozenset[str]]:
    """The names of all labels, and of those that are not only texts: 1 is the label that another row has as the text 1
    or 1.0.

    Raises:
        UserError: other rows have it as both.
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
    """Labels as numbers: int64 [rows] indices into the names, or float32 [rows, labels] of 0 and 1 for multi-label.

    Args:
        given: the labels of the rows.
        space: what was learned, or is to be.
        cfg: says whether labels are the positions of names.

    Raises:
        UserError: a row has a label that the training rows lack, or none or several where one is learned.
    """
    table, several = given.table, space.objective == "multilabel"
    if space.vectors and given.kind != "flags":
        vectors = label_vectors.decode(given.rows, len(space.names), table)
        return vectors.astype(np.float32) if several else label_vectors.positions(vectors, table)
    indices = _indices(given, space, cfg)
    if not several:
        wrong = [i for i, row in enumerate(indices) if len(row) != 1]
        table.refuse(wrong, "a list of labels where one is learned", "Give each row one label.")
        return np.array([row[0] for row in indices], dtype=np.int64)
    targets = np.zeros((len(indices), len(space.names)), dtype=np.float32)
    for i, row in enumerate(indices):
        targets[i, row] = 1
    return targets


def check_numbering(given: Labels, targets: NDArray[Any], space: LabelSpace, cfg: Data) -> None:
    """
    Args:
        given: the labels of the training rows.
        targets: those as numbers.
        space: the labels.
        cfg: says whether they are the positions of names.

    Raises:
        UserError: one of the positions does not occur, so that they may be numbered otherwise.
    """
    if not cfg.label_names or space.vectors:
        return
    counts = np.bincount(targets, minlength=len(space.names)) if targets.ndim == 1 else targets.sum(0)
    if missing := np.flatnonzero(counts == 0).tolist():
        raise UserError(
            f"Each of data.label_names must have training rows; {given.table.source} has none with {missing[0]}, "
            f"{space.names[missing[0]]!r}.\nLabels count from 0; give one name for each, in their order."
        )


def _indices(given: Labels, space: LabelSpace, cfg: Data) -> list[list[int]]:
    """Of each row the indices of its labels.

    Raises:
        UserError: there is no such label, or more than one.
    """
    find = _places(space) if cfg.label_names and given.kind != "flags" else _finder(space)
    known = {v: find(v) for v in {v for row in given.rows for v in row}}
    for i, row in enumerate(given.rows):
        for v in row:
            if len(known[v]) > 1:
                raise _ambiguous(v, [space.names[label] for label in known[v]], given.place(i))
            if not known[v]:
                raise _unknown(v, space, given.place(i), cfg)
    return [[known[v][0] for v in row] for row in given.rows]


def _finder(space: LabelSpace) -> Callable[[Value], Sequence[int]]:
    """What gives the indices of the labels that a value can be."""
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
    """As `_finder`, where labels are the positions of the names; or the names, if these are no numbers themselves."""
    places = {str(i): i for i in range(len(space.names))}
    if not any(NUMBER.fullmatch(name) for name in space.names):
        places |= {name: i for i, name in enumerate(space.names)}
    return lambda v: [places[name] for name in dict.fromkeys((plain(v.name), v.name)) if name in places][:1]


def _as_number(name: str) -> str:
    """The name that a number had when all labels were taken for numbers if they could be."""
    found = number(name)
    # Beyond these a float stands for several numbers, so that identifiers would become one label.
    if found is None or not abs(found) < EXACT:
        return name
    return str(int(found)) if found.is_integer() else str(found)


def _unknown(v: Value, space: LabelSpace, place: str, cfg: Data) -> UserError:
    if cfg.label_names:
        return UserError(
            f"data.label_names names the labels 0 to {len(space.names) - 1}; {place} has {v}.\n"
            "Give a name for each label, in the order of their numbers, or leave data.label_names out."
        )
    alike = [name for name in space.names if folded(name) == folded(v.name)]
    hint = nearest(v.name, space.names)
    if alike:
        hint = f"It differs from {alike[0]!a} only in case, blanks, Unicode form or the like."
    return UserError(
        f"Every label must occur in the training rows; {place} has {v}.\n"
        f"{hint} Add training rows with it, or take these rows out."
    )


def _ambiguous(v: Value, names: Sequence[str], place: str) -> UserError:
    return UserError(
        f"A label that is no text must be one of the texts in other rows; {place} has {v}, which may be "
        f"{' or '.join(map(repr, names))}.\nWrite all labels as texts, or all as numbers."
    )
