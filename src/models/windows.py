"""Documents in windows: the logits of a document from those of its windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from src.datamodules.ragged import Batch
from src.models.heads import pool_states

PER_WINDOW = ("input_ids", "mask", "token_type_ids", "states", "pooled")  # entries of a batch with a row per window


def columns(outputs: int, pooling: str) -> int:
    """Returns how many numbers a head computes for each window: its logits and, for attention, its score."""
    return outputs + (pooling == "attention")


def combine_windows(
    logits: Float[Tensor, "windows columns"], counts: Int[Tensor, " documents"], pooling: str
) -> Float[Tensor, "documents outputs"]:
    """Returns the logits of each document.

    Args:
        logits: of all windows, those of each document together; with `attention`, the last column is the score whose
            softmax over a document's windows weights their logits (as in Ilse et al. 2018, with a linear score).
        counts: windows of each document; on a CPU, or this waits for the device that they are on.
        pooling: mean, max or attention.
    """
    rows = pad_sequence([*torch.split(logits, counts.tolist())], batch_first=True)
    mask = torch.arange(rows.shape[1], device=rows.device) < counts.to(rows.device, non_blocking=True)[:, None]
    if pooling == "attention":
        weights = rows[..., -1].masked_fill(~mask, -torch.inf).softmax(1)
        return (weights.unsqueeze(-1) * rows[..., :-1]).sum(1)
    return pool_states(rows, mask, pooling)


def in_turns(logits_of: Callable[[Batch], Tensor], batch: Batch) -> Float[Tensor, "windows columns"]:
    """Returns the logits of all windows of a batch, computed for as many at once as the batch has documents, so that a
    step takes no more memory than one with single sequences: what it needs for the gradient is computed again.

    Args:
        logits_of: of a batch without documents.
        batch: with `windows`, the number of windows of each document.
    """
    part = {name: batch[name] for name in PER_WINDOW if name in batch}
    size, windows = len(batch["windows"]), len(next(iter(part.values())))
    if windows <= size or "pooled" in part:  # vectors take hardly any memory
        return logits_of(part)
    found = []
    for start in range(0, windows, size):
        turn = {name: values[start : start + size] for name, values in part.items()}
        again = torch.is_grad_enabled()
        found.append(checkpoint(logits_of, turn, use_reentrant=False) if again else logits_of(turn))
    return torch.cat(found)
