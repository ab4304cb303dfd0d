"""Fills activation stores: runs the frozen prefix over every text once, and hands the rest of the run what to read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from src import config, freezing
from src.activations import Shape, Store
from src.config import UserError
from src.cutting import CutError, cut
from src.data.batching import Ragged, Stored
from src.data.datamodule import TextDataModule
from src.data.tokenizing import tokenizer_state
from src.heads import pool_states
from src.modules import TextClassifier

log = logging.getLogger(__name__)

BATCH_TOKENS = 8_192  # padded places in one batch of the encoding pass
CHUNK_TOKENS = 131_072  # tokens between two lines of the journal: what a killed builder loses at the most
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}  # of the largest value


class UnusableError(Exception):
    """The run cannot use a store; says why."""


@dataclass(frozen=True)
class Recipe:
    """How the states of a store are computed from token ids."""

    prefix: nn.Module
    suffix: nn.Module | None  # what goes on from the states; None: the head itself
    pooling: str | None  # one vector a text instead of one a token
    parameters: dict[str, Tensor]  # of the prefix
    padding: int  # the id of the padding token
    dtype: torch.dtype
    width: int

    @property
    def what(self) -> str:
        return f"{self.pooling} vectors" if self.pooling else "token states"

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[texts, width] pooled vectors or [texts, tokens, width] states."""
        output = self.prefix(input_ids=ids, attention_mask=mask.long())
        if self.pooling == "pooler":
            return torch.as_tensor(output.pooler_output)
        states = torch.as_tensor(output.last_hidden_state)
        return pool_states(states, mask, self.pooling) if self.pooling else states


def use_store(
    trainer: Trainer, module: TextClassifier, datamodule: TextDataModule, cfg: config.RunConfig
) -> dict[str, Any]:
    """Makes a run read its frozen prefix from stores, built first where there are none.

    Returns:
        What the run's result says of it: whether stores are used, or why not, and their size.

    Raises:
        UserError: the config requires a store and there can be none.
        RuntimeError: a stored batch differs from the same batch computed live.
    """
    try:
        if cfg.activations.mode == "off":
            raise UnusableError("activations=off")
        recipe = plan(module, datamodule.padding, _dtype(cfg.trainer.precision))
        key = _key(recipe, module, datamodule, cfg)
        stores = {name: _store(recipe, key, tokens, cfg) for name, tokens in datamodule.tokens.items()}
        _check_room(stores, cfg.activations.max_gb)
        nn.Module.to(module.encoder, trainer.strategy.root_device)
        found = {n: _read_or_build(store, recipe, datamodule.tokens[n], trainer, n) for n, store in stores.items()}
    except UnusableError as reason:
        if cfg.activations.mode == "require":
            raise UserError(
                f"activations=require needs a store, and there can be none: {reason}.\nChoose activations=auto."
            ) from None
        log.info("No activation store: %s", reason)
        return {"used": False, "reason": str(reason)}
    module.read_store(recipe.suffix)
    datamodule.states = {name: Stored(rows, recipe.dtype, recipe.pooling is not None) for name, rows in found.items()}
    _check_first_batch(trainer, module, datamodule, recipe.dtype)
    size = sum(store.shape.bytes for store in stores.values())
    log.info("Reading %s of %d frozen stages from the store (%s MB)", recipe.what, module.depth, f"{size / 1e6:,.0f}")
    return {"used": True, "what": recipe.what, "depth": module.depth, "bytes": size}


def plan(module: TextClassifier, padding: int, dtype: torch.dtype) -> Recipe:
    """What to store: the smallest tensor that the rest of the run can go on from.

    Raises:
        UnusableError: nothing is frozen from the input on, or the architecture cannot be cut there.
    """
    frozen = module.stages[: module.depth]
    if not frozen:
        raise UnusableError("nothing is frozen from the input on")
    named = module.named_stage_parameters()
    parameters = {name: named[name].detach() for stage in frozen for name in stage.parameters}
    width = int(module.encoder.config.hidden_size)
    if module.stages[module.depth].name == freezing.HEAD:
        pooling = str(module.head.pooling) if module.head.reads == "pooled" else None
        return Recipe(module.encoder, None, pooling, parameters, padding, dtype, width)
    try:
        prefix, suffix = cut(module.encoder, sum(stage.is_layer for stage in frozen))
    except CutError as error:
        raise UnusableError(str(error)) from None
    return Recipe(prefix, suffix, None, parameters, padding, dtype, width)


def _dtype(precision: str | int) -> torch.dtype:
    if str(precision) == "64-true":
        raise UnusableError("stores hold at most 32 bits, and the run computes in 64")
    if str(precision) == "bf16-true":
        raise UnusableError("the weights themselves are in bfloat16 from the first step on")
    kind = str(precision).partition("-")[0]
    return {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}[kind]


def _key(recipe: Recipe, module: TextClassifier, data: TextDataModule, cfg: config.RunConfig) -> dict[str, Any]:
    """Everything but the texts that the content of a store depends on."""
    settings = module.encoder.config.to_dict()
    return {
        "prefix": fingerprint(recipe.parameters),
        "architecture": {k: v for k, v in settings.items() if k not in ("_name_or_path", "transformers_version")},
        "attention": module.encoder.config._attn_implementation,
        "tokenizer": hashlib.sha256(tokenizer_state(data.tokenizer).encode()).hexdigest(),
        "max_length": data.cfg.max_length,
        "depth": module.depth,
        "what": recipe.what,
        "dtype": str(recipe.dtype).removeprefix("torch."),
        "backbone": cfg.backbone.name or cfg.backbone.package,
    }


def _store(recipe: Recipe, key: dict[str, Any], tokens: Ragged, cfg: config.RunConfig) -> Store:
    texts = {"values": torch.from_numpy(tokens.values), "lengths": torch.from_numpy(tokens.lengths)}
    whole = json.loads(json.dumps({**key, "tokens": fingerprint(texts)}, default=str))
    kind = {torch.float32: "float32", torch.bfloat16: "uint16", torch.float16: "float16"}[recipe.dtype]
    vectors = len(tokens.lengths) if recipe.pooling else int(tokens.lengths.sum())
    return Store(Path(cfg.cache), whole, Shape(vectors, recipe.width, kind))


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """A hash of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_room(stores: dict[str, Store], max_gb: float) -> None:
    needed = sum(store.shape.bytes for store in stores.values() if not store.manifest.exists())
    if not needed:
        return
    room = min(store.room() for store in stores.values())
    log.info(
        "Activation store: %.2f GB to build (at most %g GB; %.1f GB of disk to spare)", needed / 1e9, max_gb, room / 1e9
    )
    if needed > max_gb * 1e9:
        raise UnusableError(f"it would take {needed / 1e9:.2f} GB, more than activations.max_gb={max_gb:g}")
    if needed > room:
        raise UnusableError(f"it would take {needed / 1e9:.2f} GB, and the disk has {room / 1e9:.2f} GB to spare")


def _read_or_build(store: Store, recipe: Recipe, tokens: Ragged, trainer: Trainer, name: str) -> Ragged:
    order = np.argsort(-tokens.lengths, kind="stable")
    try:
        with store.locked():
            values = store.read()
            if values is None:
                _build(store, recipe, tokens, order, trainer, name)
                values = store.read()
    except OSError as error:
        store.discard()
        raise UnusableError(f"{store.folder} cannot be written: {error.strerror or error}") from None
    if values is None:
        raise UnusableError(f"{store.folder} cannot be read back")
    lengths = np.ones_like(tokens.lengths) if recipe.pooling else tokens.lengths
    starts = np.empty_like(lengths)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]
    return Ragged(values, lengths, starts)


def _build(store: Store, recipe: Recipe, tokens: Ragged, order: NDArray[np.intp], trainer: Trainer, name: str) -> None:
    """One pass over the texts, longest first, in batches of as many texts as fit the budget of padded places."""
    finished = store.start()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), disable=not trainer.progress_bar_callback) as bar:
        task = bar.add_task(f"Encoding {name}", total=len(order), rate="")
        begun = bar.get_time()
        done = start = 0
        for chunk in _chunks(tokens.lengths[order]):
            rows = [order[piece] for piece in chunk]
            texts = sum(map(len, rows))
            vectors = texts if recipe.pooling else int(sum(tokens.lengths[r].sum() for r in rows))
            if (start, start + vectors) not in finished:
                store.write_chunk(start, np.concatenate([_encode(recipe, tokens, r, trainer) for r in rows]))
                done += texts
            start += vectors
            rate = done / max(bar.get_time() - begun, 1e-9)
            bar.update(task, advance=texts, rate=f"{rate:,.0f} texts/s")
    store.finish()


def _chunks(lengths: NDArray[np.int64]) -> Iterator[list[slice]]:
    """Slices of texts in descending length, a batch each, gathered into chunks: a function of the lengths alone."""
    chunk: list[slice] = []
    size = begin = 0
    while begin < len(lengths):
        end = begin + max(1, BATCH_TOKENS // int(lengths[begin]))
        chunk.append(slice(begin, end))
        size += int(lengths[begin:end].sum())
        if size >= CHUNK_TOKENS:
            yield chunk
            chunk, size = [], 0
        begin = end
    if chunk:
        yield chunk


def _encode(recipe: Recipe, tokens: Ragged, rows: NDArray[np.intp], trainer: Trainer) -> NDArray[Any]:
    """The vectors of these texts, end to end: [vectors, width], bfloat16 as the bits of uint16."""
    device = trainer.strategy.root_device
    ids, mask = (torch.from_numpy(a).to(device) for a in tokens.padded(rows, recipe.padding))
    recipe.prefix.eval()
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        states = recipe.states(ids.long(), mask)
    vectors = (states if recipe.pooling else states[mask]).to(recipe.dtype).cpu()
    return np.asarray((vectors.view(torch.uint16) if recipe.dtype == torch.bfloat16 else vectors).numpy())


def _check_first_batch(
    trainer: Trainer, module: TextClassifier, datamodule: TextDataModule, dtype: torch.dtype
) -> None:
    """Computes the first texts live as well.

    Raises:
        RuntimeError: the two differ by more than rounding.
    """
    rows = np.arange(min(8, len(datamodule.corpus.splits["train"])))
    split = datamodule.encoded("train")
    stored = split[rows]
    split.states = None
    training = module.training
    module.eval()
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        live_logits, logits = (
            module({key: value.to(trainer.strategy.root_device) for key, value in batch.items()})
            for batch in (split[rows], stored)
        )
    module.train(training)
    gap, scale = float((live_logits - logits).abs().max()), max(1.0, float(live_logits.abs().max()))
    if not gap <= TOLERANCE[dtype] * scale:
        raise RuntimeError(
            f"The activation store must agree with the model; on the first texts the logits differ by {gap:.3g}, "
            f"with logits up to {scale:.3g}. Run with activations=off and report this."
        )
