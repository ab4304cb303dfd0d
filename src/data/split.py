"""The examples of one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.data.texts import Text


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Args:
        rows: int64 [examples], row numbers in the file.
        texts: of the examples.
        targets: int64 [examples] label indices, all 0 without labels; float32 [examples, labels] of 0 and 1 for
            multi-label data.
        positions: int64 [examples], of each text among all texts of the data.
    """

    rows: NDArray[np.int64]
    texts: list[Text]
    targets: NDArray[Any]
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: NDArray[np.intp]) -> Split:
        texts = [self.texts[i] for i in indices]
        return Split(self.rows[indices], texts, self.targets[indices], self.positions[indices])
