"""Values on the command line without effect, such as the learning rate of a frozen backbone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from src.config.schema import RunConfig
from src.errors import listed
from src.files.told import not_told
from src.freezing.strategy import HEAD, Phase, Stage, depth, trained_in
from src.tables.reading import LAYOUT
from src.tables.sources import kinds_read

log = logging.getLogger(__name__)

OF_LABELS = tuple(f"data.{key}" for key in ("task", "label_delimiter", "label_names", "class_weights"))


def warn_of_idle(
    keys: Iterable[str], name: str, settings: RunConfig, stages: Sequence[Stage], phases: Sequence[Phase]
) -> None:
    """Warns of keys whose values have no effect; in a sweep only of what none of its jobs has warned of.

    Args:
        keys: that the user gives.
        name: of the strategy.
        settings: of the run.
        stages: of its network.
        phases: of the strategy on this network.
    """
    frozen = {key: f"freeze={name} {why}" for key, why in find_idle(settings, stages, phases).items()}
    idle = frozen | find_idle_data(settings) | find_idle_costs(settings)
    warnings = [f"{key} has no effect: with {idle[key]}." for key in dict.fromkeys(keys) if key in idle]
    for warning in not_told(warnings):
        log.warning(warning)


def find_idle(settings: RunConfig, stages: Sequence[Stage], phases: Sequence[Phase]) -> dict[str, str]:
    """The keys whose values change nothing under the strategy, each with the reason."""
    found: dict[str, str] = {}
    trained, rates = _training(stages, phases), settings.optimizer
    backbone = [stage for stage in stages if stage.name in trained - {HEAD}]
    layers = [stage for stage in stages if stage.is_layer]
    if not backbone:
        found["backbone.dropout"] = "nothing of the backbone trains, and what is frozen has no dropout"
        found["trainer.gradient_checkpointing"] = "nothing of the backbone trains"
    if rates.head_lr is not None and not _take_rate(backbone, phases):
        why = "nothing of the backbone trains" if not backbone else "every phase has a rate of its own"
        found |= dict.fromkeys(("optimizer.lr", "backbone.lr"), f"{why}; the head's learning rate is optimizer.head_lr")
    # The last layer, what follows it, and the head have the full learning rate.
    if not any(stage in stages[: stages.index(layers[-1])] for stage in backbone if layers):
        found["optimizer.layer_decay"] = "no stage below the last layer trains"
    first, later = _training(stages, phases[:1]), _training(stages, phases[1:])
    if later <= first:
        found["optimizer.thaw_warmup"] = "no stage is unfrozen during the training"
    if settings.activations.mode != "require" and (settings.is_mlm or not depth(stages, phases[:1])):
        why = "other tokens are masked in every epoch" if settings.is_mlm else "nothing is frozen from the input on"
        found |= dict.fromkeys(
            ("activations", "activations.mode", "activations.max_gb"), f"{why}, so there is no store"
        )
    return found


def find_idle_data(settings: RunConfig) -> dict[str, str]:
    """The keys of the data section whose values change nothing, each with what causes it and the reason."""
    cfg, found = settings.data, dict[str, str]()
    if cfg.folds is None:
        found["data.repeat"] = "data.folds=null the texts are not divided into folds"
    else:
        found["data.test_fraction"] = f"data.folds={cfg.folds} the test split is a fold"
    if not cfg.windows:
        found["data.max_windows"] = "data.windows=false texts are not read in windows"
    if settings.is_mlm:
        found |= dict.fromkeys(OF_LABELS, "model=bert_mlm no labels are read")
    source, kinds = f"data.path={cfg.path}" if cfg.path else f"data.name={cfg.name}", kinds_read(cfg)
    for key, readers in LAYOUT.items():
        if kinds.isdisjoint(readers):
            found[f"data.{key}"] = f"{source} no file is one of {listed(readers)}"
    return found


def find_idle_costs(settings: RunConfig) -> dict[str, str]:
    """The costs of mistakes, where no threshold is chosen by them."""
    chosen = "null" if settings.threshold is None else settings.threshold
    keys = () if chosen == "cost" else ("costs.false_positive", "costs.false_negative")
    return dict.fromkeys(keys, f"threshold={chosen} mistakes have no costs")


def _training(stages: Iterable[Stage], phases: Iterable[Phase]) -> set[str]:
    """The names of the stages that train in any of the phases."""
    trained = trained_in(phases)
    return {stage.name for stage in stages if trained & set(stage.parameters)}


def _take_rate(backbone: Iterable[Stage], phases: Iterable[Phase]) -> bool:
    """Whether some of these stages train at the optimizer's rate in any phase."""
    names = {name for stage in backbone for name in stage.parameters}
    return any(phase.lr is None and phase.trainable & names for phase in phases)
