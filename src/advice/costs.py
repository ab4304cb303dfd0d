"""What the strategies cost on this machine, measured with a few steps of each."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from src.config.length import length
from src.config.sections import Cost
from src.training.inputs import Inputs


@dataclass(frozen=True)
class StrategyCost:
    """
    Args:
        epoch: seconds of an epoch of all training texts.
        memory: bytes of weights, gradients, optimizer moments and saved activations.
        trainable: parameters that train.
        inference: layers that a prediction takes, as a fraction of the backbone's.
    """

    epoch: float
    memory: int
    trainable: int
    inference: float

    def of(self, cost: Cost) -> float:
        """What counts as the cost of the strategy."""
        return {
            "time": self.epoch,
            "memory": self.memory,
            "parameters": self.trainable,
            "inference": self.inference,
        }[cost]


def strategy_costs(inputs: Inputs, given: int, layers: int, kept: int, cost: Cost) -> dict[str, StrategyCost]:
    """Returns the costs of strategies by name, the cheapest first: heads alone, two depths of freezing, nothing frozen.

    Args:
        inputs: of any strategy.
        given: training texts that there are, of which the inputs may have some only.
        layers: of the backbone.
        kept: how many layers the head reads that is advised.
        cost: what is cheap.
    """
    found = {}
    if kept < layers:
        found[f"cut:{kept}"] = _measured(inputs, kept / layers, _target_="src.freezing.Cut", layers=kept, train=0)
    found["all"] = _measured(inputs, 1.0, _target_="src.freezing.Everything")
    for frozen in sorted({max(1, round(layers * share)) for share in (2 / 3, 1 / 3)}, reverse=True):
        found[f"bottom:{frozen}"] = _measured(inputs, 1.0, _target_="src.freezing.Bottom", layers=frozen)
    found["none"] = _measured(inputs, 1.0, _target_="src.freezing.Nothing")
    size, measured = inputs.settings.data.batch_size, len(inputs.corpus.splits["train"])
    longer = length(inputs.settings.trainer, -(-given // size)).batches / -(-measured // size)
    whole = {name: replace(one, epoch=longer * one.epoch) for name, one in found.items()}
    return dict(sorted(whole.items(), key=lambda one: one[1].of(cost)))


def _measured(inputs: Inputs, inference: float, **freeze: Any) -> StrategyCost:
    from src.caching.costs import measure, plan_store
    from src.callbacks.stage_tables import stage_counts
    from src.models.checks import read_training
    from src.training.build import build
    from src.training.devices import device_type, with_precision

    cfg = copy.deepcopy(inputs.cfg)
    cfg.freeze = {**freeze, "reinit_top": 0}
    cfg.trainer.limit_train_batches, cfg.trainer.overfit_batches = 1.0, 0  # of few texts they may leave no batch
    settings, strategy = read_training(cfg)
    settings = with_precision(settings)
    module, datamodule = build(cfg, settings, strategy, inputs.source, inputs.corpus)
    datamodule.setup()
    module.to(device_type(settings))
    module.enter_phase(0)
    recipe, _ = plan_store(module, datamodule, settings)
    module.read_store(recipe.suffix if recipe else None)
    cost = measure(module, datamodule, settings, recipe, trial=True)
    trainable = sum(stage_counts(module, stage)[1] for stage in module.stages)
    return StrategyCost(cost.seconds or 0.0, cost.memory, trainable, inference)
