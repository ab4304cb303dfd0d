"""The pooled vectors of the training texts after each layer, from the activation store that `freeze=mix` reads."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from src.errors import UserError

if TYPE_CHECKING:
    from src.datamodules.datamodule import TextDataModule
    from src.modules.freezable import FreezableModule
    from src.training.inputs import Inputs


def encode(
    inputs: Inputs, module: FreezableModule, datamodule: TextDataModule
) -> Float[NDArray[np.float32], "texts outputs width"]:
    """Returns the vectors of the training texts after the embeddings and after each layer.

    The backbone runs once over all texts, unless an earlier run has left them in a store.

    Args:
        inputs: of a run with `freeze=mix` and a linear head.
        module: of that run.
        datamodule: of that run, after its setup.

    Raises:
        UserError: there can be no store.
    """
    from pytorch_lightning import Trainer

    from src.caching.encoding import UnusableError, read_or_build
    from src.caching.use_store import find_store

    chosen, tokens = inputs.settings.trainer, datamodule.all_tokens
    assert tokens is not None
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)  # which devices there are
    trainer = Trainer(
        accelerator=chosen.accelerator,
        devices=1,
        precision=chosen.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=chosen.enable_progress_bar,
        enable_model_summary=False,
    )
    try:
        recipe, store = find_store(module, datamodule, inputs.settings)
        rows, _ = read_or_build(store, recipe, tokens, trainer)
    except UnusableError as reason:
        raise UserError(
            f"Advice needs an activation store, and there can be none: {reason}.\n"
            "Choose another cache folder, cache=FOLDER, or fewer texts: max_texts=5000."
        ) from None
    found = rows.take(inputs.corpus.splits["train"].positions)
    values = _float32(found.flat(np.arange(len(found.lengths))))
    return values.reshape(len(values), recipe.width // int(module.encoder.config.hidden_size), -1)


def _float32(stored: NDArray[Any]) -> NDArray[np.float32]:
    """The values of a store, which holds bfloat16 as the bits of uint16."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(stored, dtype=np.float32)
