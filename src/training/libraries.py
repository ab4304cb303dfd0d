"""Importing PyTorch, Lightning and what stands on them, which takes seconds."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from src.models.imports import without_garbage_collection
from src.training.allocation import keep_freed_memory

REPEATED = (
    r"GPU available but not used",  # whoever chooses trainer=cpu knows
    r"Found \d+ module\(s\) in eval mode",  # they are frozen on purpose
    r"Checkpoint directory .* exists and is not empty",  # a resumed run continues in its own folder
    r"It is recommended to use .self\.log",  # scores are of the predictions of all processes already
    r"Glyph \d+ .* missing from font",  # a label in a script that the figure's font lacks
    r"Be aware that when using .ckpt_path",  # a resumed run may be given other callbacks
    r"Detected call of .lr_scheduler.step",  # a float16 scaler skips steps, mostly the first
    r"You requested to overfit but enabled",  # every epoch is the first one again, in its order
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged in any case
    r".isinstance\(treespec, LeafSpec\). is deprecated",  # about Lightning's own code
)


@contextlib.contextmanager
def importing_libraries() -> Iterator[None]:
    """Imports within are quicker, and Lightning stays quiet afterwards where the run logs the same."""
    keep_freed_memory()  # which PyTorch has to know before it is imported
    # PyTorch reads it once, at the first product on a GPU; without it, no later training can be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    first = "pytorch_lightning" not in sys.modules
    warnings.filterwarnings("ignore", message="IProgress not found")  # in a notebook, of bars that are not used
    with without_garbage_collection():
        yield
        if first:  # in a later run of the same process this would keep what the run before has left
            gc.freeze()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in REPEATED:
        warnings.filterwarnings("ignore", message=message)
