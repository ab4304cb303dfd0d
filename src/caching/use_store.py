"""Decides what of the frozen prefix is stored, and lets a run read the store instead of computing it in every step."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from src.caching.all_layers import store_of_all_layers
from src.caching.encoding import Recipe, UnusableError, read_or_build
from src.caching.flops import counter
from src.config import schema
from src.datamodules.datamodule import LabelledDataModule, TextDataModule
from src.datamodules.ragged import Batch, StoredStates, Tokens
from src.datamodules.tokenizing import tokenizer_state
from src.errors import UserError
from src.freezing import strategy
from src.models.frozen_prefix import CutError, cut
from src.models.networks import reads_all_layers
from src.modules.classifier import TextClassifier
from src.modules.freezable import FreezableModule
from src.store.store import Shape, Store

log = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}  # relative to the largest logit

CHECKED = 64  # tokens of a text that is computed in two ways
ROUNDING = 0.01  # of the largest state, by which these may differ in any precision


def check(module: FreezableModule, datamodule: TextDataModule, cfg: schema.RunConfig) -> None:
    """Checks that a run with activations=require can use a store, before anything is computed.

    Raises:
        UserError: the config requires a store, and the run cannot use one.
    """
    if cfg.activations.mode == "require":
        try:
            find_store(module, datamodule, cfg)
        except UnusableError as reason:
            raise _required(reason) from None


def use_store(trainer: Trainer, module: FreezableModule, cfg: schema.RunConfig) -> dict[str, Any]:
    """Makes a run read the outputs of its frozen prefix from a store, and builds a missing one. All processes call it.
    Steps on stored vectors then take one thread, unless the config gives a number.

    Returns:
        The entry `activations` of the phase in result.json: whether a store is used, or why not, and its size.

    Raises:
        UserError: the config requires a store, and the run cannot use one.
        RuntimeError: a stored batch differs from the same batch computed without the store.
    """
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
    try:
        if cfg.activations.mode == "off":
            raise UnusableError("activations=off")
        recipe, store = find_store(module, datamodule, cfg)
        inputs = datamodule.all_tokens.inputs
        rows = read_or_build(store, recipe, inputs, trainer)
    except UnusableError as reason:
        if cfg.activations.mode == "require":
            raise _required(reason) from None
        log.log(reason.level, "Activation store off: %s", reason)
        module.read_store(None)
        if isinstance(datamodule, LabelledDataModule):
            datamodule.read_states(None)
        return {"used": False, "reason": str(reason)}
    module.read_store(recipe.suffix)
    datamodule.read_states(StoredStates(rows, recipe.dtype, pooled=recipe.pooling is not None))
    _check_first_batch(trainer, module, datamodule, recipe.dtype)
    size = store.shape.bytes
    log.info(
        "Reading %s of %d frozen stages from the activation store (%s MB)",
        recipe.what,
        module.depth,
        f"{size / 1e6:,.0f}",
    )
    flops = 0.0
    if not cfg.trainer.compile:  # FLOPs of compiled code cannot be counted
        # Whether or not the store was there before: what a run takes does not depend on which one came first.
        flops = int(inputs.lengths.sum()) * _flops_per_token(recipe, inputs, trainer)
    if recipe.pooling and cfg.trainer.threads is None and torch.get_num_threads() > 1:
        # With other work on the machine, threads of steps this small mostly wait for each other.
        torch.set_num_threads(1)
        log.info("Steps on stored vectors are small: computing them with 1 thread")
    about = {"what": recipe.what, "depth": module.depth, "bytes": size, "store": store.folder.name}
    return {"used": True, **about, "operations": flops}


def _flops_per_token(recipe: Recipe, tokens: Tokens, trainer: Trainer) -> float:
    """Returns the FLOPs per token of the encoding pass, measured on a few texts."""
    batch, device = tokens.batch(np.arange(min(8, len(tokens.lengths))), recipe.padding), trainer.strategy.root_device
    with counter() as counted, torch.no_grad(), trainer.precision_plugin.forward_context():
        recipe.states({name: tensor.to(device) for name, tensor in batch.items()})
    return float(counted.get_total_flops()) / batch["mask"].numel()


def _required(reason: UnusableError) -> UserError:
    return UserError(f"activations=require needs a store, and there can be none: {reason}.\nChoose activations=auto.")


def find_store(module: FreezableModule, datamodule: TextDataModule, cfg: schema.RunConfig) -> tuple[Recipe, Store]:
    """Returns how the frozen prefix is computed, and the store of all texts, which may not be built yet.

    It has the texts of all splits, or their windows, so that other splits of the same texts, such as the folds of a
    cross-validation and subsets of the training texts, read the same store. Where there is a store of all layers'
    outputs, those of one layer are read from it.

    Raises:
        UnusableError: the run cannot use a store: inputs change every epoch, the embeddings train, or the disk is full.
    """
    if not isinstance(module, TextClassifier):
        raise UnusableError("other tokens are masked in every epoch")
    recipe = plan(module, datamodule.padding, _dtype(cfg.trainer.precision))
    assert datamodule.all_tokens is not None
    _check_parts(recipe, module, datamodule.all_tokens.inputs)
    store = _store(recipe, _key(recipe, module, datamodule, cfg), datamodule.all_tokens.inputs, cfg)
    if not store.is_finished() and (wider := store_of_all_layers(store)):
        return recipe, wider
    _check_size(store, cfg.activations.max_gb)
    return recipe, store


def plan(module: TextClassifier, padding: int, dtype: torch.dtype) -> Recipe:
    """Returns what to store: the smallest tensor that the rest of the network can continue from.

    Raises:
        UnusableError: the embeddings train, or the architecture cannot be cut.
    """
    frozen = module.stages[: module.depth]
    if not frozen:
        raise UnusableError("the embeddings are trainable")
    named = module.named_stage_parameters()
    parameters = {name: named[name].detach() for stage in frozen for name in stage.parameters}
    width = int(module.encoder.config.hidden_size)
    if module.stages[module.depth].name == strategy.HEAD:
        pooling = str(module.head.pooling) if module.head.reads == "pooled" else None
        every = reads_all_layers(module.head)
        width *= module.encoder.config.num_hidden_layers + 1 if every else 1
        return Recipe(module.encoder, None, pooling, every, parameters, padding, dtype, width)
    try:
        prefix, suffix = cut(module.encoder, sum(stage.is_layer for stage in frozen))
    except CutError as error:
        raise UnusableError(str(error)) from None
    return Recipe(prefix, suffix, None, False, parameters, padding, dtype, width)


def _check_parts(recipe: Recipe, module: TextClassifier, tokens: Tokens) -> None:
    """Computes a short text alone, and from its stored states after a batch with padding.

    Raises:
        UnusableError: they differ, as where another architecture ends with a norm that prefix and suffix both apply, or
            reads padding.
    """
    shortest_and_longest = np.argsort(tokens.lengths, kind="stable")[[0, -1]]
    whole = tokens.batch(shortest_and_longest, recipe.padding)
    batch = {name: values[:, :CHECKED].to(module.device) for name, values in whole.items()}
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            agrees = _agrees(recipe, module.encoder, batch)
    except Exception as error:  # code that was not made to be called so raises all kinds of exceptions
        log.debug("The architecture cannot be split", exc_info=error)
        agrees = False
    finally:
        module.train(training)
    if not agrees:
        raise UnusableError(f"{type(module.encoder).__name__} cannot be split there, or reads padding")


def _agrees(recipe: Recipe, encoder: nn.Module, batch: Batch) -> bool:
    """Whether the first text of a batch has the same states as alone, and these the width of the store."""
    mask, states = batch["mask"][:1], recipe.states(batch)
    found, length = states[:1], int(mask.sum())
    alone = {name: values[:1, :length] for name, values in batch.items()}
    # A copy is not compiled, as the encoder may be by an earlier phase.
    wanted = (dataclasses.replace(recipe, prefix=copy.copy(encoder)) if recipe.suffix else recipe).states(alone)
    if recipe.suffix:
        stored = torch.where(mask[:, :, None], found, 0.0)
        found = recipe.suffix(inputs_embeds=stored, attention_mask=mask.long()).last_hidden_state
    gap = (found if recipe.pooling else found[:, :length]) - wanted
    return states.shape[-1] == recipe.width and float(gap.abs().max()) <= ROUNDING * max(1.0, float(wanted.abs().max()))


def _dtype(precision: str | int) -> torch.dtype:
    if str(precision) == "64-true":
        raise UnusableError("stores hold at most 32 bits per value, and the run computes in 64")
    if str(precision) == "bf16-true":
        raise UnusableError("with trainer.precision=bf16-true the weights themselves are in bfloat16")
    kind = str(precision).partition("-")[0]
    return {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}[kind]


def _key(recipe: Recipe, module: TextClassifier, data: TextDataModule, cfg: schema.RunConfig) -> dict[str, Any]:
    """Returns everything that the content of a store depends on, except the texts."""
    settings = module.encoder.config.to_dict()
    return {
        "prefix": [
            fingerprint({name: recipe.parameters[name] for name in stage.parameters})
            for stage in module.stages[: module.depth]
        ],
        "architecture": {k: v for k, v in settings.items() if k not in ("_name_or_path", "transformers_version")},
        "attention": module.encoder.config._attn_implementation,
        "tokenizer": hashlib.sha256(tokenizer_state(data.tokenizer).encode()).hexdigest(),
        "max_length": data.cfg.max_length,
        "depth": module.depth,
        "what": recipe.what,
        "dtype": str(recipe.dtype).removeprefix("torch."),
        "backbone": cfg.backbone.title,
    }


def _store(recipe: Recipe, key: dict[str, Any], tokens: Tokens, cfg: schema.RunConfig) -> Store:
    texts = {"values": torch.from_numpy(tokens.values), "lengths": torch.from_numpy(tokens.lengths)}
    if tokens.types is not None:
        texts["types"] = torch.from_numpy(tokens.types)
    whole = json.loads(json.dumps({**key, "tokens": fingerprint(texts)}, default=str))
    kind = {torch.float32: "float32", torch.bfloat16: "uint16", torch.float16: "float16"}[recipe.dtype]
    vectors = len(tokens.lengths) if recipe.pooling else int(tokens.lengths.sum())
    return Store(Path(cfg.cache), whole, Shape(vectors, recipe.width, kind))


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """Returns a hash of names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_size(store: Store, max_gb: float) -> None:
    if store.is_finished():
        return
    needed, free = store.shape.bytes, store.free_bytes()
    log.info("Activation store: %.2f GB to build (limit %g GB, %.1f GB free)", needed / 1e9, max_gb, free / 1e9)
    if needed > max_gb * 1e9:
        raise UnusableError(f"it would need {needed / 1e9:.2f} GB, more than activations.max_gb={max_gb:g}")
    if needed > free:
        raise UnusableError(f"it would need {needed / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB free")


def _check_first_batch(
    trainer: Trainer, module: FreezableModule, datamodule: LabelledDataModule, dtype: torch.dtype
) -> None:
    """Compares the logits of the first texts from the store with those computed without it.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    rows = np.arange(min(8, len(datamodule.corpus.splits["train"])))
    split = datamodule.split("train")
    stored, live = split[0, rows], dataclasses.replace(split, states=None)[0, rows]
    training = module.training
    module.eval()
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        live_logits, logits = (
            module({key: value.to(trainer.strategy.root_device) for key, value in batch.items()})
            for batch in (live, stored)
        )
    module.train(training)
    gap, scale = float((live_logits - logits).abs().max()), max(1.0, float(live_logits.abs().max()))
    if not gap <= TOLERANCE[dtype] * scale:
        raise RuntimeError(
            f"The activation store must agree with the model; on the first texts the logits differ by {gap:.3g}, "
            f"with logits up to {scale:.3g}. Run with activations=off, and report this as a bug."
        )
