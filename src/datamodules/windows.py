"""Long documents as overlapping windows, each of which the encoder reads as a sequence of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from src.arrays import NDArray
from src.datamodules.ragged import Batch, Tokens

WINDOWS = "windows"  # the entry of a batch with the number of windows of each text


class WindowedTokens(Tokens):
    """The token ids of texts that are read in windows; a text's row has those of all its windows, one after the other.

    Args:
        inputs: the windows, those of each text together and in order.
        counts: int64 [texts], windows of each text.
        full_lengths: int64 [texts], in tokens, of the whole texts.
        repeated: how many tokens of a window are in the one before as well, special tokens included.
    """

    def __init__(
        self, inputs: Tokens, counts: NDArray[np.int64], full_lengths: NDArray[np.int64], repeated: int
    ) -> None:
        self._inputs, self._counts, self.repeated = inputs, counts, repeated
        self.first = np.cumsum(counts) - counts
        lengths = np.add.reduceat(inputs.lengths, self.first) if len(counts) else counts
        super().__init__(inputs.values, lengths, full_lengths, inputs.starts[self.first])

    @property
    def inputs(self) -> Tokens:
        return self._inputs

    @property
    def counts(self) -> NDArray[np.int64]:
        return self._counts

    @property
    def lost(self) -> NDArray[np.int64]:
        return self.full_lengths - (self.lengths - (self.counts - 1) * self.repeated)

    def rows(self, texts: NDArray[Any]) -> NDArray[Any]:
        counts = self.counts[texts]
        shifts = np.repeat(self.first[texts] - np.cumsum(counts) + counts, counts)
        return np.asarray(shifts + np.arange(counts.sum()))

    def window_counts(self, texts: NDArray[Any]) -> Batch:
        return {WINDOWS: torch.from_numpy(self.counts[texts])}

    def take(self, rows: NDArray[np.int64]) -> WindowedTokens:
        inputs = self.inputs.take(self.rows(rows))
        return WindowedTokens(inputs, self.counts[rows], self.full_lengths[rows], self.repeated)

    def batch(self, rows: NDArray[np.intp], padding: int) -> Batch:
        """Returns `input_ids` and `mask` of all windows of these texts [windows, longest], and `windows` [texts], how
        many are of each."""
        return {**self.inputs.batch(self.rows(rows), padding), **self.window_counts(rows)}
