"""Epochs with all labels equally often."""

from __future__ import annotations

import numpy as np

from src.datamodules.batching import BatchPlan
from src.datamodules.sampling import balanced_rows

LABELS = np.repeat([0, 1, 3], [80, 15, 8])  # label 2 does not occur


def epoch(number: int) -> np.ndarray:
    return np.concatenate(BatchPlan(np.full(103, 9), 8, seed=1, shuffle=True, labels=LABELS).batches(number))


def test_each_label_is_drawn_equally_often() -> None:
    rows = epoch(0)
    assert len(rows) == len(LABELS)
    assert sorted(np.bincount(LABELS[rows])[[0, 1, 3]]) == [34, 34, 35]


def test_rows_of_a_label_are_drawn_as_often_as_each_other_or_once_more() -> None:
    counts = np.bincount(epoch(0), minlength=len(LABELS))
    for label in (0, 1, 3):
        drawn = counts[np.flatnonzero(label == LABELS)]
        assert drawn.max() - drawn.min() <= 1


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    assert np.array_equal(epoch(0), epoch(0))
    assert not np.array_equal(np.sort(epoch(0)), np.sort(epoch(1)))
    seen = np.unique(np.concatenate([epoch(number) for number in range(12)]))
    assert len(seen) == len(LABELS)


def test_balanced_labels_are_each_drawn_once() -> None:
    assert np.sort(balanced_rows(np.arange(30) % 3, np.random.default_rng(0))).tolist() == list(range(30))
