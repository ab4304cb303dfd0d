"""Epochs in which all labels are equally frequent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from src.arrays import NDArray

Rows = Int[NDArray[np.int64], " rows"]


def balanced_rows(labels: Rows, random: np.random.Generator) -> Rows:
    """Returns as many rows as there are, in random order, with each label that occurs equally often (or once more, by
    chance). Rows of a rare label are repeated: as often as each other, or once more. Of a frequent one, each epoch has
    others.

    Args:
        labels: of the rows.
        random: decides all of it.
    """
    occurring = random.permutation(np.unique(labels))
    parts = np.array_split(np.empty(len(labels)), len(occurring))
    drawn = [_drawn(np.flatnonzero(labels == k), len(part), random) for k, part in zip(occurring, parts, strict=True)]
    return random.permutation(np.concatenate(drawn))


def _drawn(rows: Rows, count: int, random: np.random.Generator) -> Rows:
    times, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, times), random.choice(rows, rest, replace=False)])
