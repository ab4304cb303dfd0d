"""The configs of the two stages of a pretrain-then-classify run."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf, open_dict

from src.errors import UserError
from src.runs.folder import RunFolder


def stage_configs(cfg: DictConfig, folder: RunFolder) -> tuple[DictConfig, DictConfig]:
    """Returns the configs of the pretraining stage and of the classification stage.

    Args:
        cfg: of a run with a `pretrain` section, which overrides the other sections in the pretraining.
        folder: of the classification stage; the pretraining's folder is in it.

    Raises:
        UserError: the section is invalid, or the run has several processes, or is part of a cross-validation.
    """
    _check_pretrain(cfg)
    first, second = cfg.copy(), cfg.copy()
    with open_dict(first), open_dict(second):
        for key, part in cfg.pretrain.items():
            # A part with a `_target_` replaces the section; one without is merged into it.
            first[key] = part if "_target_" in part else OmegaConf.merge(cfg[key], part)
        first.run = str(folder.path / "pretrain")
        kept = ("attention", "dropout", "lr")
        second.backbone = {"run": first.run, **{key: cfg.backbone[key] for key in kept}}
        first.pretrain = second.pretrain = None
        first.calibration = first.threshold = None  # of labels, which it has none of
        if "race" in first:
            first.race = None  # it is between classifiers, and its metric is one of theirs
    if "masking" not in first.model:
        raise UserError(
            "pretrain must be masked language modelling, whose backbone the classification stage starts from; "
            f"pretrain.model is {first.model.get('_target_')}.\nStart from experiment=mlm_then_classify."
        )
    return first, second


def _check_pretrain(cfg: DictConfig) -> None:
    given = cfg.pretrain
    sections = isinstance(given, DictConfig) and all(
        isinstance(cfg.get(key), DictConfig) and isinstance(part, DictConfig) for key, part in given.items()
    )
    if not sections:
        raise UserError(
            f"pretrain must hold sections of the config, with the overrides for the pretraining stage; got {given}.\n"
            "Start from experiment=mlm_then_classify."
        )
    if str(cfg.trainer.devices) != "1" or cfg.trainer.num_nodes > 1:
        raise UserError(
            f"Pretraining and classification in one command need trainer.devices=1; got {cfg.trainer.devices}.\n"
            "Run two commands: model=bert_mlm first, then backbone=run backbone.run=FOLDER."
        )
    if cfg.data.get("folds") is not None:
        raise UserError(
            f"Pretraining and classification in one command need data.folds=null, since the pretraining would read the "
            f"texts of the test fold; got {cfg.data.folds}.\n"
            "Pretrain on other texts first: model=bert_mlm, then backbone=run backbone.run=FOLDER with data.folds."
        )
