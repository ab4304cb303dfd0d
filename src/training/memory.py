"""What to do when a step does not fit into memory."""

from __future__ import annotations

import torch
from pytorch_lightning import Trainer

from src.config.schema import RunConfig
from src.errors import UserError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was too small: that of a GPU, or that of the machine where it sets a limit."""
    of_torch = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return of_torch or isinstance(error, torch.OutOfMemoryError | MemoryError)


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
