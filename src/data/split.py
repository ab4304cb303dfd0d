"""The examples of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from src.arrays import NDArray
from src.data.texts import Text

MOST_QUANTILES = 10


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Args:
        rows: int64 [examples], row numbers in the file.
        texts: of the examples.
        targets: int64 [examples] label indices, all 0 without labels; float32 [examples, labels] of 0 and 1 for
            multi-label data; float32 [examples, targets] of any numbers in regression.
        positions: int64 [examples], of each text among all texts of the data.
        numeric: whether the targets are numbers, as in regression.
    """

    rows: NDArray[np.int64]
    texts: list[Text]
    targets: NDArray[Any]
    positions: NDArray[np.int64]
    numeric: bool = False

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: NDArray[np.intp]) -> Split:
        texts = [self.texts[i] for i in indices]
        return Split(self.rows[indices], texts, self.targets[indices], self.positions[indices], self.numeric)

    def classes(self, count: int) -> NDArray[Any]:
        """Returns what samples are stratified by: the labels; of numbers, their quantiles, int64 [examples].

        Args:
            count: of the examples that are taken, by which quantiles are so wide that each has two on either side.
        """
        return quantiles(self.targets, min(count, len(self) - count) // 2) if self.numeric else self.targets


def quantiles(targets: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Returns for each example in which quantile its number is, from 0: of several targets, the mean of their ranks.

    Args:
        targets: float32 [examples, targets].
        most: quantiles, ten at most. Equal numbers are in the same one, and one that is less than half as large as
            those of different numbers becomes part of the one before.
    """
    from scipy.stats import rankdata

    count = max(1, min(MOST_QUANTILES, most))
    ranks = rankdata(rankdata(targets, axis=0).mean(1), method="min") - 1
    _, found = np.unique(ranks * count // len(targets), return_inverse=True)
    large = np.bincount(found) * 2 * count >= len(targets)
    return np.asarray(np.maximum(np.cumsum(large) - 1, 0)[found])
