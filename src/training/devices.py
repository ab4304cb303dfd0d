"""Whether there is the device that a config asks for, before anything is read or loaded for it; which precision suits
it."""

from __future__ import annotations

import logging

from omegaconf import DictConfig, OmegaConf

from src.config.model import BiLSTMHead
from src.config.schema import RunConfig
from src.config.trainer_switches import ALIASES
from src.errors import UserError

log = logging.getLogger(__name__)

GPUS = ("gpu", "cuda", "mps")  # the accelerators that need one


def check_device(cfg: DictConfig) -> None:
    """Checks that there is a GPU if the config needs one. PyTorch is only imported if it does.

    Args:
        cfg: of a run, not yet validated.

    Raises:
        UserError: there is none.
    """
    accelerator, precision = (str(OmegaConf.select(cfg, f"trainer.{key}")) for key in ("accelerator", "precision"))
    half = ALIASES.get(precision, precision) == "16-mixed"
    if accelerator in GPUS and not _has(accelerator):
        raise UserError(
            f"trainer.accelerator={accelerator} needs a GPU that PyTorch can use; there is none here.\n"
            "Choose trainer=auto or trainer=cpu, or install a PyTorch for your GPU."
        )
    if half and (accelerator == "cpu" or not _has("gpu")):
        raise UserError("trainer.precision=16-mixed needs a GPU; this is a processor.\nChoose bf16-mixed.")


def with_precision(settings: RunConfig) -> RunConfig:
    """The same settings, with the fastest precision of this machine's device where they leave the choice to it."""
    if settings.trainer.precision != "auto":
        return settings
    trainer = settings.trainer.model_copy(update={"precision": _fastest(str(settings.trainer.accelerator))})
    return settings.model_copy(update={"trainer": trainer})


def check_bf16(settings: RunConfig) -> None:
    """Warns of a device that has no instructions for bfloat16.

    Raises:
        UserError: PyTorch has no LSTM in bfloat16 there.
    """
    from src.models.inference import emulates_bf16

    chosen, device = settings.trainer, device_type(settings)
    if not (str(chosen.precision).startswith("bf16") and emulates_bf16(device)):
        return
    name, better = ("processor", "32-true") if device == "cpu" else ("GPU", "16-mixed")
    lacks = f"trainer.precision={chosen.precision} needs a {name} with instructions for bfloat16; this one has none"
    if device == "cpu" and isinstance(settings.model, BiLSTMHead):
        raise UserError(f"{lacks}, and PyTorch cannot compute an LSTM without.\nChoose trainer.precision={better}.")
    log.warning("%s, and takes up to tens of times as long.\nRather choose trainer.precision=%s.", lacks, better)


def device_type(settings: RunConfig) -> str:
    """Returns the device that a training of these settings computes on: cpu, cuda or mps."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if settings.trainer.accelerator == "cpu" or found is None else str(found.type)


def _fastest(accelerator: str) -> str:
    import torch

    from src.models.inference import emulates_bf16

    if accelerator in ("cpu", "mps") or not torch.cuda.is_available():
        return "32-true"
    if not emulates_bf16("cuda"):
        return "bf16-mixed"
    # From 7.0 on, matrix units multiply in float16; before, it is no faster than float32.
    return "16-mixed" if torch.cuda.get_device_capability() >= (7, 0) else "32-true"


def _has(accelerator: str) -> bool:
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return found.get(accelerator, any(found.values()))
