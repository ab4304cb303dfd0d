"""Stratified sampling of an exact number of rows; nested samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from src.arrays import NDArray

Indices = NDArray[np.intp]

LEAST = 4  # rows that are still drawn stratified


def stratified(targets: NDArray[Any], count: int, seed: int) -> Indices:
    """Returns `count` row indices, in order; multi-label by iterative stratification (Sechidis et al. 2011).

    Each label has at least one of these rows, and one of the others if there are enough, except in multi-label data.

    Args:
        targets: int64 [rows] label indices, or float32 [rows, labels] of 0 and 1; more rows than `count`.
        count: at least the number of labels that occur, or for multi-label data 1.
        seed: of the sampling.
    """
    rows = len(targets)
    if targets.ndim == 2:
        from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit as Cut
    else:
        from sklearn.model_selection import StratifiedShuffleSplit as Cut

        occurring = np.unique(targets, return_counts=True)[1]
        # Scikit-learn needs rows of every label on both sides.
        if occurring.min() < 2 or rows - count < len(occurring):
            return _by_quota(targets, count, seed)
    _, chosen = next(Cut(n_splits=1, test_size=count, random_state=seed).split(np.zeros(rows), targets))
    return _with_each_label(chosen, targets, seed) if targets.ndim == 1 else _exactly(chosen, targets, count, seed)


def nested(targets: NDArray[Any], count: int, seed: int) -> Indices:
    """Returns `count` row indices, in order, so that the rows of a smaller count are among those of a larger one.

    The rows are halved again and again, stratified: the rows of a count are those of the first half, or the first half
    and some of the second. Each label has a row if there are enough rows, except in multi-label data.

    Args:
        targets: int64 [rows] label indices, or float32 [rows, labels] of 0 and 1.
        count: at most the number of rows.
        seed: of the sampling.
    """
    kept: list[Indices] = []
    rows, wanted = np.arange(len(targets)), count
    while 0 < wanted < len(rows):
        half = -(-len(rows) // 2)
        if half < max(LEAST, targets.shape[1] if targets.ndim == 2 else len(np.unique(targets[rows]))):
            rows = rows[_labels_first(targets[rows], seed)][:wanted]
            break
        chosen = stratified(targets[rows], half, seed)
        if wanted <= half:
            rows = rows[chosen]
        else:
            kept.append(rows[chosen])
            rows, wanted = np.delete(rows, chosen), wanted - half
    return np.sort(np.concatenate([*kept, rows[:wanted]]))


def _labels_first(targets: NDArray[Any], seed: int) -> Indices:
    """Returns a random order of the rows; in single-label data it begins with a row of each label."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if targets.ndim == 2:
        return order
    first = np.unique(targets[order], return_index=True)[1]
    return np.concatenate([order[first], np.delete(order, first)])


def _by_quota(targets: NDArray[np.int64], count: int, seed: int) -> Indices:
    """Samples by removing rows one by one, each from the label that exceeds its quota most."""
    rows = len(targets)
    kept = np.bincount(targets)
    wanted = kept * (count / rows)
    for _ in range(rows - count):
        # Each label keeps a row.
        kept[np.argmax(np.where(kept > 1, kept - wanted, -np.inf))] -= 1
    order = np.random.default_rng(seed).permutation(rows)
    chosen = [order[targets[order] == label][:quota] for label, quota in enumerate(kept)]
    return np.sort(np.concatenate(chosen))


def _with_each_label(chosen: Indices, targets: NDArray[np.int64], seed: int) -> Indices:
    """Exchanges rows until each label is on both sides: of a rare one, the share of a side may be rounded to no row.

    The row that is given for it is of the label that exceeds its share of that side most.
    """
    inside = np.zeros(len(targets), dtype=bool)
    inside[chosen] = True
    order, total = np.random.default_rng(seed).permutation(len(targets)), np.bincount(targets)
    rows = np.split(order[np.argsort(targets[order], kind="stable")], np.cumsum(total)[:-1])  # of each label
    for side in (True, False):
        counts = np.bincount(targets[inside == side], minlength=len(total))
        share = total * (counts.sum() / len(targets))
        for label in np.flatnonzero((counts == 0) & (total > 0)):
            other = np.argmax(np.where(counts > 1, counts - share, -np.inf))
            given = rows[other][inside[rows[other]] == side][0]
            inside[[rows[label][0], given]] = side, not side
            counts[[label, other]] += 1, -1
    return np.flatnonzero(inside)


def _exactly(chosen: Indices, targets: NDArray[np.float32], count: int, seed: int) -> Indices:
    """Corrects the number of rows, which iterative stratification misses by a few: adds or removes the rows that keep
    the label distribution closest to that of the whole."""
    inside = np.zeros(len(targets), dtype=bool)
    inside[chosen] = True
    order = np.random.default_rng(seed).permutation(len(targets))  # breaks ties at random
    wanted = targets.sum(0) * (count / len(targets))
    change = -1 if len(chosen) > count else 1
    for _ in range(abs(len(chosen) - count)):
        candidates = order[inside[order] == (change < 0)]
        missing = change * (wanted - targets[inside].sum(0))
        # |missing - row|², without the part that is the same for all rows.
        distance = targets[candidates].sum(1) - 2 * targets[candidates] @ missing
        inside[candidates[np.argmin(distance)]] = change > 0
    return np.flatnonzero(inside)
