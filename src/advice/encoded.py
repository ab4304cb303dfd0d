"""The pooled vectors of the training texts after each layer, from the activation store that `freeze=mix` reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from src.arrays import NDArray
from src.datamodules.text_problems import Truncated, truncated
from src.errors import UserError
from src.training.libraries import importing_libraries

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from src.config.trainer_switches import Trainer as Settings
    from src.datamodules.datamodule import TextDataModule
    from src.modules.freezable import FreezableModule
    from src.training.clock import Clock
    from src.training.inputs import Inputs


@dataclass(frozen=True)
class Encoded:
    """
    Args:
        vectors: of the training texts after the embeddings and after each layer.
        truncated: by split, the texts that are longer than `data.max_length`.
    """

    vectors: Float[NDArray[np.float32], "texts outputs width"]
    truncated: Mapping[str, Truncated]


def encode(inputs: Inputs, clock: Clock) -> Encoded:
    """Runs the backbone once over all texts, unless an earlier run has left its outputs in a store.

    Args:
        inputs: of a run with `freeze=mix` and a linear head.
        clock: that times the parts of this.

    Raises:
        UserError: there can be no store.
    """
    with clock("import"), importing_libraries():
        from src.training.build import build
    with clock("build"):
        module, datamodule = build(inputs.cfg, inputs.settings, inputs.strategy, inputs.source, inputs.corpus)
        datamodule.setup()
        module.enter_phase(0)
    with clock("encode"):
        vectors = _vectors(inputs, module, datamodule)
    return Encoded(vectors, {name: truncated(tokens) for name, tokens in datamodule.tokens.items()})


def _vectors(
    inputs: Inputs, module: FreezableModule, datamodule: TextDataModule
) -> Float[NDArray[np.float32], "texts outputs width"]:
    from src.caching.encoding import UnusableError, read_or_build
    from src.caching.use_store import find_store

    tokens = datamodule.all_tokens
    assert tokens is not None
    positions = inputs.corpus.splits["train"].positions
    try:
        recipe, store = find_store(module, datamodule, inputs.settings)
        rows = read_or_build(store, recipe, tokens.inputs, _trainer(inputs.settings.trainer))
    except UnusableError as reason:
        raise UserError(
            f"Advice needs an activation store, and there can be none: {reason}.\n"
            "Choose another cache folder, cache=FOLDER, or fewer texts: max_texts=5000."
        ) from None
    counts = tokens.counts[positions]
    values = _float32(rows.flat(tokens.rows(positions)))
    if inputs.settings.data.windows:  # the mean of their logits is the logit of their mean
        sums = np.add.reduceat(values, np.cumsum(counts) - counts)
        values = (sums / counts[:, None]).astype(np.float32)
    return values.reshape(len(values), recipe.width // int(module.encoder.config.hidden_size), -1)


def _trainer(chosen: Settings) -> Trainer:
    """A trainer that says nothing of the devices there are; training says it later."""
    from pytorch_lightning import Trainer

    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = log.level
    precision: Any = chosen.precision  # not `auto`, for which the inputs have what it is here
    log.setLevel(logging.ERROR)
    try:
        return Trainer(
            accelerator=chosen.accelerator,
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=chosen.enable_progress_bar,
            enable_model_summary=False,
        )
    finally:
        log.setLevel(level)


def _float32(stored: NDArray[Any]) -> NDArray[np.float32]:
    """The values of a store, which holds bfloat16 as the bits of uint16."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(stored, dtype=np.float32)
