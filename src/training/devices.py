"""Whether there is the device that a config asks for, before anything is read or loaded for it; its best precision."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from src.config.schema import RunConfig
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


def with_precision(settings: RunConfig) -> RunConfig:
    """The same settings, with the fastest precision of this machine's device where they leave the choice to it."""
    if settings.trainer.precision != "auto":
        return settings
    trainer = settings.trainer.model_copy(update={"precision": _fastest(str(settings.trainer.accelerator))})
    return settings.model_copy(update={"trainer": trainer})


def _fastest(accelerator: str) -> str:
    import torch

    if accelerator in ("cpu", "mps") or not torch.cuda.is_available():
        return "32-true"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed"
    # From 7.0 on, matrix units multiply in float16; before, it is no faster than float32.
    return "16-mixed" if torch.cuda.get_device_capability() >= (7, 0) else "32-true"


def _has(accelerator: str) -> bool:
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return found.get(accelerator, any(found.values()))
