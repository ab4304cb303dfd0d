"""Padded batches from rows of different lengths, in an order that is a function of seed and epoch only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from src.arrays import NDArray
from src.config.length import limited
from src.datamodules.ragged import Batch, StoredStates, Tokens
from src.datamodules.sampling import balanced_rows

Rows = NDArray[np.intp]


# The epoch and the rows of a batch; with gradient accumulation, also all rows of the optimizer step.
Item = tuple[int, Rows] | tuple[int, Rows, Rows]


BUCKET = 50  # batches that are sorted by length together; more means less padding and less randomness


@dataclass
class EncodedSplit(Dataset[Batch]):
    """A split as token ids and targets. An item is a whole batch, indexed by its epoch and rows.

    Args:
        tokens: the ids of each text.
        targets: int64 [texts] or float32 [texts, labels].
        weights: float32 [texts], of each text in the loss.
        padding: the id of the padding token.
        rank: of this process.
        ranks: how many processes share every batch.
        states: stored outputs of the frozen prefix, which replace the token ids; None without an activation store.
    """

    tokens: Tokens
    targets: NDArray[Any]
    weights: NDArray[np.float32]
    padding: int
    rank: int = 0
    ranks: int = 1
    states: StoredStates | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [texts], in tokens."""
        return self.tokens.lengths

    def texts(self, rows: Rows) -> Rows:
        """Returns the texts in these rows: one each."""
        return rows

    def __getitem__(self, item: Item) -> Batch:
        """Returns this process's part of a batch: every `ranks`-th row.

        `loss_divisor` is the weight of the whole batch, divided by the number of processes: the mean of the processes'
        gradients is then the gradient of the whole batch, however its rows are distributed. With gradient accumulation,
        `step_fraction` is the batch's fraction of the weight of its optimizer step. Of texts in windows, the batch has
        all windows, and `windows` is how many there are of each text.
        """
        _, batch, *step = item
        rows = batch[self.rank :: self.ranks]
        inputs = self.tokens.rows(rows)
        whole = self.weights[batch].sum()
        part = {"step_fraction": torch.tensor(whole / self.weights[step[0]].sum())} if step else {}
        return {
            **(self.states.batch(inputs) if self.states else self.tokens.inputs.batch(inputs, self.padding)),
            **self.tokens.window_counts(rows),
            "rows": torch.from_numpy(rows.astype(np.int64)),
            "targets": torch.from_numpy(self.targets[rows]),
            "weights": torch.from_numpy(self.weights[rows]),
            "loss_divisor": torch.tensor(whole / self.ranks),
            **part,
        }


class BatchPlan:
    """The rows of each batch, the order of the batches, and the position in the epoch.

    Args:
        lengths: of the rows, in tokens.
        size: rows per batch.
        seed: of the order.
        shuffle: False gives one fixed order, by length.
        buckets: group rows of similar length (transformers: `group_by_length`).
        ranks: number of processes; no batch is smaller, so that each process gets a row of it.
        limit: number of batches per epoch, or fraction of them. Without shuffling, they contain the first rows.
        group: batches per optimizer step (gradient accumulation).
        repeat: every epoch repeats the first one.
        labels: int64 [rows], to make equally frequent in each epoch; None: each epoch has every row once.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        size: int,
        seed: int,
        shuffle: bool,
        buckets: bool = True,
        ranks: int = 1,
        limit: int | float = 1.0,
        group: int = 1,
        repeat: bool = False,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.labels = labels
        self.lengths, self.size, self.seed = lengths, size, seed
        self.shuffle, self.buckets, self.ranks, self.group, self.repeat = shuffle, buckets, ranks, group, repeat
        self.epoch = 0
        self.position = 0  # batches of this epoch returned so far
        self.count = max(1, -(-len(lengths) // size) - (0 < len(lengths) % size < ranks))
        self.taken = limited(self.count, limit)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Item]:
        if not self.shuffle:
            self.position = 0
        elif self.position >= self.count:
            self.epoch, self.position = self.epoch + 1, 0
        epoch, begin = 0 if self.repeat else self.epoch, self.position
        batches = self.batches(epoch)
        for index, rows in enumerate(batches[begin:], begin):
            yield (epoch, rows) if self.group == 1 else (epoch, rows, self._step(batches, index, begin))

    def _step(self, batches: list[Rows], index: int, begin: int) -> Rows:
        """Returns all rows of a batch's optimizer step. Steps start with the epoch, or where a run resumes."""
        first = index - index % self.group
        last = max(index + 1, min(first + self.group, self.taken))
        return np.concatenate(batches[max(first, begin) : last])

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch. Evaluations ignore it; a position that was restored from a
        checkpoint of this epoch stays."""
        if self.shuffle and epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def batches(self, epoch: int) -> list[NDArray[np.intp]]:
        """Returns the rows of every batch of an epoch: a function of seed and epoch."""
        if not self.shuffle:
            first = self.taken * self.size if self.taken < self.count else len(self.lengths)
            parts = np.split(np.arange(len(self.lengths)), [first])
            return self._cut(np.concatenate([part[np.argsort(-self.lengths[part], kind="stable")] for part in parts]))
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.lengths)) if self.labels is None else balanced_rows(self.labels, random)
        if self.buckets:
            span = BUCKET * self.size
            pools = [order[i : i + span] for i in range(0, len(order), span)]
            order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = self._cut(order)
        # Shuffle the batches too, among them the last one, which may be smaller.
        return [batches[i] for i in random.permutation(len(batches))] if self.buckets else batches

    def _cut(self, order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        return np.split(order, range(self.size, self.count * self.size, self.size))


class BatchLoader:
    """Batches of a split. Its state, epoch and position, is saved in Lightning's checkpoints, so that a resumed run
    continues with the next batch.

    Args:
        split: the rows.
        plan: the order.
        workers: processes that prepare batches.
        pinned: put batches where a GPU copies them from while it computes.
    """

    def __init__(self, split: Dataset[Batch], plan: BatchPlan, workers: int = 0, pinned: bool = False) -> None:
        self.split, self.plan, self.workers, self.pinned = split, plan, workers, pinned
        # Lightning calls `set_epoch` of `sampler`, and expects a `batch_sampler` beside it.
        self.sampler, self.batch_sampler = plan, None

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        # This runs at the first batch, after Lightning has set the epoch.
        for batch in self._in_workers() if self.workers else map(self._prepared, self.plan):
            self.plan.position += 1
            yield batch

    def _prepared(self, item: Item) -> Batch:
        batch = self.split[item]
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pinned else batch

    def _in_workers(self) -> DataLoader[Batch]:
        # With its own generator the loader does not draw from the global one; otherwise dropout would depend on how
        # often a loader was opened.
        return DataLoader(
            self.split,
            sampler=self.plan,
            batch_size=None,
            num_workers=self.workers,
            generator=torch.Generator(),
            pin_memory=self.pinned,
        )

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.plan.epoch, "position": self.plan.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.plan.epoch, self.plan.position = state["epoch"], state["position"]
