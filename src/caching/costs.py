"""Estimates what an epoch of each phase costs, from a few of its batches and without training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from src.caching.encoding import Recipe, UnusableError
from src.caching.flops import counter
from src.caching.use_store import find_store
from src.config.length import length
from src.config.schema import RunConfig
from src.datamodules.datamodule import TextDataModule
from src.datamodules.ragged import Batch
from src.datamodules.windows import WINDOWS
from src.models.windows import PER_WINDOW
from src.modules.freezable import FreezableModule
from src.store.store import Store

SAMPLE, TEXTS = 5, 4  # batches, from the shortest to the longest texts, and texts of each that are measured


TRIAL = 10  # steps that are timed


@dataclass(frozen=True)
class Cost:
    """What one epoch of a phase costs: FLOPs, bytes and seconds."""

    forward: float  # FLOPs
    backward: float  # FLOPs
    encoding: float  # FLOPs of the one pass that fills the activation store; 0 without a store
    memory: int  # bytes: weights, gradients, optimizer moments and saved activations of the largest batch
    seconds: float | None  # per epoch; None without a trial
    encoding_seconds: float | None


def plan_store(
    module: FreezableModule, datamodule: TextDataModule, settings: RunConfig
) -> tuple[Recipe, Store] | tuple[None, None]:
    """Returns how the phase's activation store would be filled, and the store; None if the phase cannot use one."""
    try:
        return (None, None) if settings.activations.mode == "off" else find_store(module, datamodule, settings)
    except UnusableError:
        return None, None


def measure(
    module: FreezableModule, datamodule: TextDataModule, settings: RunConfig, recipe: Recipe | None, trial: bool
) -> Cost:
    """Estimates the cost of an epoch of the module's current phase.

    Args:
        module: that has entered the phase, on the device to measure on.
        datamodule: its data.
        settings: of the run.
        recipe: of the phase's activation store; None without a store.
        trial: whether to time a few steps, which leave the weights as they are.
    """
    module.train()
    texts, loader = datamodule.tokens["train"], datamodule.train_dataloader()
    taken = loader.plan.batches(0)[: length(settings.trainer, len(loader)).batches]
    plan = sorted(taken, key=lambda rows: int(texts.lengths[rows].max()))
    tokens = sum(texts.padded_size(rows) for rows in plan)
    forward = backward = sampled = encoded = 0.0
    for rows in (plan[i] for i in _evenly(len(plan), SAMPLE)):
        live = _batch(module, datamodule, rows[:TEXTS])
        with counter() as counted:
            loss = _loss(module, _as_stored(live, recipe), settings)
            forward += (before := counted.get_total_flops())
            torch.autograd.backward(loss)
            backward += counted.get_total_flops() - before
        if recipe:
            with counter() as counted, torch.no_grad():
                recipe.states(live)
            encoded += counted.get_total_flops()
        sampled += live["mask"].numel()
        module.zero_grad()
    scale, encoded_tokens = tokens / sampled, _encoded_tokens(datamodule) if recipe else 0
    largest = _batch(module, datamodule, plan[-1])
    seconds = encoding_seconds = None
    if trial:
        rows_tried = [plan[i] for i in _evenly(len(plan), TRIAL)]
        training, encoding = _timed(module, datamodule, settings, recipe, rows_tried)
        seconds, encoding_seconds = training * tokens, encoding * encoded_tokens
    memory = _memory(module, _as_stored(_first_turn(largest), recipe), settings)
    encoded *= encoded_tokens / sampled
    return Cost(forward * scale, backward * scale, encoded, memory, seconds, encoding_seconds)


def _encoded_tokens(datamodule: TextDataModule) -> int:
    """Returns the tokens of all texts that a store holds: also those of validation and test, and training texts that
    `data.train_size` leaves out."""
    assert datamodule.all_tokens is not None
    return int(datamodule.all_tokens.lengths.sum())


def _evenly(count: int, wanted: int) -> Iterator[int]:
    chosen = min(count, wanted)
    return (round((i + 0.5) * count / chosen - 0.5) for i in range(chosen))


def _first_turn(batch: Batch) -> Batch:
    """Returns of a batch of windows those that are computed first, each as a text of its own."""
    if WINDOWS not in batch:
        return batch
    texts = len(batch[WINDOWS])
    parts = {name: batch[name][:texts] for name in PER_WINDOW if name in batch}
    return {**batch, **parts, WINDOWS: torch.ones_like(batch[WINDOWS])}


def _batch(module: FreezableModule, datamodule: TextDataModule, rows: Any) -> Batch:
    """Returns these training texts as a batch on the module's device."""
    return {name: tensor.to(module.device) for name, tensor in datamodule.split("train")[0, rows].items()}


def _now(module: FreezableModule) -> float:
    """Returns the time in seconds, once the module's device has computed what it was given."""
    if module.device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()


def _as_stored(batch: Batch, recipe: Recipe | None) -> Batch:
    """Returns the batch as read from the store: states of the same shape, but zero."""
    if recipe is None:
        return batch
    rest = {key: value for key, value in batch.items() if key != "input_ids"}
    texts, tokens = batch["mask"].shape
    if recipe.pooling:
        return {**rest, "pooled": batch["mask"].new_zeros(texts, recipe.width, dtype=recipe.dtype)}
    return {**rest, "states": batch["mask"].new_zeros(texts, tokens, recipe.width, dtype=recipe.dtype)}


def _loss(module: FreezableModule, batch: Batch, settings: RunConfig) -> torch.Tensor:
    # What 16-mixed computes in takes as many bytes.
    with torch.autocast(
        module.device.type, torch.bfloat16, enabled=settings.trainer.precision in ("bf16-mixed", "16-mixed")
    ):
        return module.step(batch)[0]


def _memory(module: FreezableModule, batch: Batch, settings: RunConfig) -> int:
    """Returns the bytes of weights, gradients, optimizer moments and activations saved for the backward pass."""
    weights = {p.untyped_storage().data_ptr(): p for p in module.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> None:  # returns no tensor: that would keep the graph, which keeps it, for ever
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()

    with torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing):
        _loss(module, batch, settings)
    trainable = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    own = sum(p.numel() * p.element_size() for p in module.parameters())
    return own + (1 + moments(module)) * trainable + sum(kept.values())


def moments(module: FreezableModule) -> int:
    """Returns how many numbers the optimizer keeps per parameter: Adam two moments, SGD one."""
    assert module.optimization is not None
    return 1 if isinstance(module.optimization.optimizer(module), torch.optim.SGD) else 2


def _timed(
    module: FreezableModule,
    datamodule: TextDataModule,
    settings: RunConfig,
    recipe: Recipe | None,
    plan: list[Any],
) -> tuple[float, float]:
    """Returns the seconds per token of a training step and of the encoding pass, in these batches."""
    assert module.optimization is not None
    optimizer = module.optimization.optimizer(module)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # steps take as long, and the weights stay
    training = encoding = tried = 0.0
    for number, rows in enumerate([plan[-1], *plan]):  # the first step is a warm-up and not counted
        live = _batch(module, datamodule, rows)
        batch = _as_stored(live, recipe)
        begin = _now(module)
        torch.autograd.backward(_loss(module, batch, settings))
        optimizer.step()
        optimizer.zero_grad()
        middle = _now(module)
        if recipe:
            with torch.inference_mode():
                recipe.states(live)
        if number:
            training += middle - begin
            encoding += _now(module) - middle
            tried += live["mask"].numel()
    return training / tried, encoding / tried
