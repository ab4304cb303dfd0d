"""Rows of different lengths without padding: token ids and stored states, and the padded batches that they become."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from src.arrays import NDArray
from src.store.store import Mapped

Batch = dict[str, torch.Tensor]


class Ragged:
    """Rows of different lengths, concatenated without padding.

    Args:
        values: [tokens] ids, or [tokens, width] states, in memory or memory-mapped.
        lengths: int64 [rows], in tokens.
        starts: int64 [rows], where each row's values begin; None if the rows are in order.
    """

    def __init__(
        self, values: NDArray[Any] | Mapped, lengths: NDArray[np.int64], starts: NDArray[np.int64] | None = None
    ) -> None:
        self.values, self.lengths = values, lengths
        self.starts = np.cumsum(lengths) - lengths if starts is None else starts

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Returns only these rows; the values are shared."""
        return Ragged(self.values, self.lengths[rows], self.starts[rows])

    def flat(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Returns the values of these rows, concatenated."""
        lengths = self.lengths[rows]
        # The index of each value: the start of its row plus its position in the row.
        shifts = np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths)
        found: NDArray[Any] = self.values[shifts + np.arange(lengths.sum())]
        return found

    def padded(self, rows: NDArray[np.intp], padding: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Returns the values of these rows as [rows, longest, …], and the mask [rows, longest], false for padding."""
        lengths = self.lengths[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        values = np.full((*mask.shape, *self.values.shape[1:]), padding, dtype=self.values.dtype)
        values[mask] = self.flat(rows)
        return values, mask


class Tokens(Ragged):
    """The token ids of texts, special tokens included.

    Args:
        values: [tokens] ids.
        lengths: int64 [texts], in tokens.
        full_lengths: int64 [texts], in tokens, before truncation.
        starts: int64 [texts], where the ids of each text begin; None if the texts are in order.
        types: int8 [tokens], of pairs: 0 for the first text and 1 for the second; None where the tokenizer has none.
    """

    values: NDArray[Any]

    def __init__(
        self,
        values: NDArray[Any],
        lengths: NDArray[np.int64],
        full_lengths: NDArray[np.int64],
        starts: NDArray[np.int64] | None = None,
        types: NDArray[Any] | None = None,
    ) -> None:
        super().__init__(values, lengths, starts)
        self.full_lengths, self.types = full_lengths, types

    @property
    def lost(self) -> NDArray[np.int64]:
        """int64 [texts], how many tokens of each text are not read."""
        return self.full_lengths - self.lengths

    @property
    def inputs(self) -> Tokens:
        """The sequences that the encoder reads: these texts."""
        return self

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 [texts], how many sequences of each text the encoder reads."""
        return np.ones_like(self.lengths)

    def rows(self, texts: NDArray[Any]) -> NDArray[Any]:
        """Returns the rows of these texts among the sequences that the encoder reads."""
        return texts

    def window_counts(self, texts: NDArray[Any]) -> Batch:
        """Returns what a batch holds besides sequences if they are windows of texts."""
        return {}

    def padded_size(self, texts: NDArray[Any]) -> int:
        """Returns the tokens of a batch of these texts, padding included."""
        lengths = self.inputs.lengths[self.rows(texts)]
        return len(lengths) * int(lengths.max())

    def take(self, rows: NDArray[np.int64]) -> Tokens:
        return Tokens(self.values, self.lengths[rows], self.full_lengths[rows], self.starts[rows], self.types)

    def batch(self, rows: NDArray[np.intp], padding: int) -> Batch:
        """Returns `input_ids` and `mask` of these texts, and their `token_type_ids` if they have any, all
        [rows, longest]."""
        ids, mask = self.padded(rows, padding)
        found = {"input_ids": torch.from_numpy(ids.astype(np.int64)), "mask": torch.from_numpy(mask)}
        if self.types is not None:
            types, _ = Ragged(self.types, self.lengths, self.starts).padded(rows, 0)
            found["token_type_ids"] = torch.from_numpy(types.astype(np.int64))
        return found


@dataclass(frozen=True)
class StoredStates:
    """Outputs of the frozen prefix for every text, read from an activation store.

    `rows` have the token states of each text, or its one pooled vector; bfloat16 is stored as the bits of uint16.
    """

    rows: Ragged
    dtype: torch.dtype
    pooled: bool

    def take(self, texts: NDArray[np.int64]) -> StoredStates:
        """Returns the states of only these texts."""
        return dataclasses.replace(self, rows=self.rows.take(texts))

    def batch(self, rows: NDArray[np.intp]) -> Batch:
        """Returns `pooled` [rows, width], or `states` [rows, longest, width] with their `mask`, as they are stored: the
        network widens them, on its device, so that no more than this travels there."""
        values, mask = self.rows.padded(rows, padding=0)
        tensor = torch.from_numpy(values)
        tensor = tensor.view(torch.bfloat16) if self.dtype == torch.bfloat16 else tensor
        return {"pooled": tensor[:, 0]} if self.pooled else {"states": tensor, "mask": torch.from_numpy(mask)}
