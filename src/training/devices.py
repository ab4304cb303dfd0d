"""Whether there is the device that a config asks for, before anything is read or loaded for it."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from src.config.trainer_switches import ALIASES
from src.errors import UserError

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


def _has(accelerator: str) -> bool:
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return found.get(accelerator, any(found.values()))
