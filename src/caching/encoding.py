"""The encoding pass: runs the frozen prefix over every text once and fills an activation store with it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from src.arrays import NDArray
from src.datamodules.ragged import Batch, Ragged, Tokens
from src.files.ranks import gather
from src.models.heads import pool_states, read_states
from src.models.inference import batch_threads, batches, cast_matrices
from src.models.networks import encoder_inputs
from src.store.store import Mapped, Store

OF_ALL_LAYERS = " of all layers"  # ends the name of what such a store holds
CHUNK_TOKENS = 16_384  # tokens per line of the journal: the most that a killed builder loses


class UnusableError(Exception):
    """The run cannot use a store: the message gives the reason, `level` is the level at which it is logged."""

    level = logging.INFO


class UnwritableError(UnusableError):
    """The disk is full or the folder cannot be written."""

    level = logging.WARNING


@dataclass(frozen=True)
class Recipe:
    """How the states of a store are computed from token ids."""

    prefix: nn.Module
    suffix: nn.Module | None  # reads the states; None: the head reads them directly
    pooling: str | None  # one vector per text instead of one per token
    all_layers: bool  # the concatenated outputs of all layers instead of the last one's
    parameters: dict[str, Tensor]  # of the prefix
    padding: int  # the id of the padding token
    dtype: torch.dtype
    width: int

    @property
    def what(self) -> str:
        kind = f"{self.pooling} vectors" if self.pooling else "token states"
        return f"{kind}{OF_ALL_LAYERS}" if self.all_layers else kind

    def states(self, batch: Batch) -> Tensor:
        """Returns [texts, width] pooled vectors or [texts, tokens, width] states."""
        output, mask = self.prefix(**encoder_inputs(self.prefix, batch)), batch["mask"]
        if self.pooling == "pooler":
            return torch.as_tensor(output.pooler_output)
        states = read_states(output, self.all_layers)
        return pool_states(states, mask, self.pooling) if self.pooling else states


def read_or_build(store: Store, recipe: Recipe, tokens: Tokens, trainer: Trainer) -> Ragged:
    """Opens a store in every process of the run; if there is none, the processes build it together first.

    The first process holds the lock meanwhile, so that other runs wait that need the same store.

    Returns:
        The stored states of each text.
    """
    order = np.argsort(-tokens.lengths, kind="stable")
    problem = ""
    with contextlib.ExitStack() as held:
        finished: set[tuple[int, int]] | None = None
        try:
            if trainer.is_global_zero:
                held.enter_context(store.locked())
                if _is_usable(store):
                    store.mark_used()
                else:
                    finished = store.start()
        except OSError as error:
            problem = str(error.strerror or error)
        if problem := _first_problem(problem):
            raise UnwritableError(f"{store.folder} cannot be written: {problem}")
        finished = trainer.strategy.broadcast(finished)
        if finished is not None:
            try:
                _build(store, recipe, tokens, order, trainer, finished)
            except OSError as error:
                problem = str(error.strerror or error)
            if problem := _first_problem(problem):
                if trainer.is_global_zero:
                    store.discard()
                raise UnwritableError(f"{store.folder} cannot be written: {problem}")
            if trainer.is_global_zero:
                store.finish()
    trainer.strategy.barrier()
    lengths = np.ones_like(tokens.lengths) if recipe.pooling else tokens.lengths
    starts = np.empty_like(lengths)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]
    return Ragged(Mapped(store.values, store.shape, store.columns), lengths, starts)


def _is_usable(store: Store) -> bool:
    """Whether a store can be read as it is; if not, it has to be built.

    Raises:
        OSError: it has part of a wider store, which whoever chose it found intact, and which is no longer there.
    """
    if not store.columns:
        return store.is_intact()
    if not store.is_finished():
        raise OSError("it has been changed meanwhile")
    return True


def _first_problem(mine: str) -> str:
    """Returns the first problem of any process of the run, the same in all processes; empty if there is none."""
    return next(filter(None, gather(mine)), "")


def _build(
    store: Store,
    recipe: Recipe,
    tokens: Tokens,
    order: NDArray[np.intp],
    trainer: Trainer,
    finished: set[tuple[int, int]],
) -> None:
    """One pass over the texts, longest first, in batches of a limited number of tokens, padding included.

    With n processes, each takes every n-th chunk. Several batches are computed in parallel, one per thread; while a
    chunk is written, the next is computed.
    """
    device = trainer.strategy.root_device
    recipe = _for_inference(recipe, device)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    waiting: deque[tuple[int, list[Future[NDArray[Any]]], int]] = deque()
    done = start = 0
    with (
        batch_threads(device) as pool,
        Progress(*columns, TimeRemainingColumn(), disable=not trainer.progress_bar_callback) as bar,
    ):
        task = bar.add_task("Encoding texts", total=len(order), rate="")
        begun = bar.get_time()

        def write() -> None:
            nonlocal done
            first, parts, texts = waiting.popleft()
            store.write_chunk(first, np.concatenate([part.result() for part in parts]))
            done += texts
            rate = done / max(bar.get_time() - begun, 1e-9)
            bar.update(task, advance=texts, rate=f"{rate:,.0f} texts/s")

        for number, chunk in enumerate(_chunks(tokens.lengths[order], device)):
            rows = [order[piece] for piece in chunk]
            texts = sum(map(len, rows))
            vectors = texts if recipe.pooling else int(sum(tokens.lengths[r].sum() for r in rows))
            if (start, start + vectors) in finished or number % trainer.world_size != trainer.global_rank:
                bar.update(task, advance=texts)
            else:
                parts = [pool.submit(_encode, recipe, tokens, r, trainer) for r in rows]
                waiting.append((start, parts, texts))
                if len(waiting) > 1:
                    write()
            start += vectors
        while waiting:
            write()


def _for_inference(recipe: Recipe, device: torch.device) -> Recipe:
    """Returns the recipe with its prefix on the device, in evaluation mode, and with linear layers in its dtype."""
    prefix = copy.deepcopy(recipe.prefix).to(device).eval()
    cast_matrices(prefix, recipe.dtype)
    return dataclasses.replace(recipe, prefix=prefix)


def _chunks(lengths: NDArray[np.int64], device: torch.device) -> Iterator[list[slice]]:
    """Yields the batches grouped into chunks of about `CHUNK_TOKENS` tokens."""
    chunk: list[slice] = []
    size = 0
    for batch in batches(lengths, device):
        chunk.append(batch)
        size += int(lengths[batch].sum())
        if size >= CHUNK_TOKENS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _encode(recipe: Recipe, tokens: Tokens, rows: NDArray[np.intp], trainer: Trainer) -> NDArray[Any]:
    """Returns the vectors of these texts without padding: [vectors, width]; bfloat16 as the bits of uint16."""
    device = trainer.strategy.root_device
    batch = {name: tensor.to(device) for name, tensor in tokens.batch(rows, recipe.padding).items()}
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        states = recipe.states(batch)
    vectors = (states if recipe.pooling else states[batch["mask"]]).to(recipe.dtype).cpu()
    return np.asarray((vectors.view(torch.uint16) if recipe.dtype == torch.bfloat16 else vectors).numpy())
