"""The random states in a checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from src.files.ranks import gather, of_this_rank

OTHERS = "others"  # the states of all processes but the first, which checkpoints of version 0.1.0 do not have


class RandomStates(Callback):
    """Keeps the random states of all processes in the checkpoint, as tensors and primitives, so that a resumed run
    draws what an uninterrupted one would have drawn."""

    def __init__(self) -> None:
        self._restore: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        first, *others = gather(_states())
        return {**first, OTHERS: others}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Setting up a training draws numbers too; the states are put back when it starts.
        self._restore = of_this_rank([state_dict, *state_dict.get(OTHERS, [])])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._restore is not None:
            states, self._restore = self._restore, None
            _set_states(states)


def _states() -> dict[str, Any]:
    """Returns the random states of this process."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
        "numpy": [
            str(name),
            torch.from_numpy(np.array(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "python": [version, list(internal), gauss_next],
    }


def _set_states(states: dict[str, Any]) -> None:
    """Gives this process random states that `_states` has returned."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        # The machine on which a run goes on may have fewer.
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"][: torch.cuda.device_count()]])
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
