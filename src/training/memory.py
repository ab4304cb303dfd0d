"""The memory of a GPU that a training takes at most, and what to do when a step does not fit."""

from __future__ import annotations

import torch
from pytorch_lightning import Trainer

from src.config.schema import RunConfig
from src.errors import UserError


def begin_peak(trainer: Trainer) -> None:
    """Forgets what this process has taken before; `peak_gpu_memory` is of what comes now."""
    if _has_gpu(trainer):
        torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)


def peak_gpu_memory(trainer: Trainer) -> int | None:
    """The most bytes that tensors have taken at once on the GPU of this process; None without one. PyTorch itself takes
    some hundred megabytes more, and keeps what it may need again."""
    return torch.cuda.max_memory_allocated(trainer.strategy.root_device) if _has_gpu(trainer) else None


def _has_gpu(trainer: Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"


def out_of_memory(error: BaseException, trainer: Trainer, settings: RunConfig, command: str) -> UserError:
    """Returns what to tell the user.

    Args:
        error: that was raised.
        trainer: of the training.
        settings: of the run.
        command: that resumes the run as it is.
    """
    data, accumulated = settings.data, settings.trainer.accumulate_grad_batches
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    same = f"data.batch_size={max(1, data.batch_size // 2)} trainer.accumulate_grad_batches={2 * accumulated}"
    again = f"To go on with less memory and a third more time: {command} trainer.gradient_checkpointing=true\n"
    return UserError(
        f"A step must fit into the memory of {trainer.strategy.root_device}; batches of {data.batch_size} texts with "
        f"up to {data.max_length} tokens do not: {reason}\n{'' if settings.trainer.gradient_checkpointing else again}"
        f"Or start a new run with half as many texts at once, and the same steps: {same}; with a smaller "
        "data.max_length; or with more frozen layers, counted from the input."
    )
