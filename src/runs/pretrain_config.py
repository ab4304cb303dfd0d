"""The two configs of a run that first pretrains its backbone and then trains on labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf, open_dict

from src.errors import UserError
from src.runs.folder import RunFolder

if TYPE_CHECKING:
    pass


def both_configs(cfg: DictConfig, folder: RunFolder) -> tuple[DictConfig, DictConfig]:
    """The config of the run that pretrains the backbone, and of the run that goes on with it.

    Args:
        cfg: of a run with a `pretrain` section, which takes the place of what the other sections say.
        folder: of the second run; the first one's is in it.

    Raises:
        UserError: the section is none of such values, or several processes are to train.
    """
    _check_pretrain(cfg)
    first, second = cfg.copy(), cfg.copy()
    with open_dict(first), open_dict(second):
        for key, part in cfg.pretrain.items():
            # A part that says what is built replaces the other; values alone change it.
            first[key] = part if "_target_" in part else OmegaConf.merge(cfg[key], part)
        first.run = str(folder.path / "pretrain")
        kept = ("attention", "dropout", "lr")
        second.backbone = {"run": first.run, **{key: cfg.backbone[key] for key in kept}}
        first.pretrain = second.pretrain = None
    if "masking" not in first.model:
        raise UserError(
            "pretrain must ask for masked language modelling, which is what the second training goes on from; "
            f"pretrain.model gives {first.model.get('_target_')}.\nBegin with experiment=mlm_then_classify."
        )
    return first, second


def _check_pretrain(cfg: DictConfig) -> None:
    given = cfg.pretrain
    sections = isinstance(given, DictConfig) and all(
        isinstance(cfg.get(key), DictConfig) and isinstance(part, DictConfig) for key, part in given.items()
    )
    if not sections:
        raise UserError(
            f"pretrain must hold sections of the config, with what differs in the first training; got {given}.\n"
            "Begin with experiment=mlm_then_classify."
        )
    if str(cfg.trainer.devices) != "1" or cfg.trainer.num_nodes > 1:
        raise UserError(
            f"Two trainings in one command need trainer.devices=1; got {cfg.trainer.devices}.\n"
            "Give two commands: model=bert_mlm first, then backbone=run backbone.run=FOLDER."
        )
