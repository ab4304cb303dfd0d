"""What the strategies cost on this machine: a few steps of few of them are measured, the rest follows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.training.inputs import Inputs


@dataclass(frozen=True)
class StrategyCost:
    """
    Args:
        epoch: seconds of an epoch.
        memory: bytes of weights, gradients, optimizer moments and saved activations.
        trainable: parameters that train.
        inference: layers that a prediction takes, as a fraction of the backbone's.
        measured: whether steps of this strategy were timed; otherwise it lies between two that were.
    """

    epoch: float
    memory: int
    trainable: int
    inference: float
    measured: bool


def strategy_costs(inputs: Inputs, layers: int, kept: int) -> dict[str, StrategyCost]:
    """Returns the costs of strategies by name, from the cheapest to the dearest.

    A step computes backwards and forwards through what trains, and reads what is frozen from the store. So what
    `bottom:k` costs falls linearly with k, and two depths give all.

    Args:
        inputs: of any strategy.
        layers: of the backbone.
        kept: how many layers the head reads that is advised.
    """
    low, high = max(1, round(layers / 3)), max(1, round(2 * layers / 3))
    none = _measured(inputs, {"_target_": "src.freezing.Nothing"}, 1.0)
    upper = _measured(inputs, _bottom(high), 1.0)
    found = {f"cut:{kept}": _measured(inputs, _cut(kept), kept / layers)} if kept < layers else {}
    found["all"] = _measured(inputs, {"_target_": "src.freezing.Everything"}, 1.0)
    found[f"bottom:{high}"] = upper
    if low < high:
        found[f"bottom:{low}"] = _between(none, upper, low / high)
    return found | {"none": none}


def _bottom(layers: int) -> dict[str, Any]:
    return {"_target_": "src.freezing.Bottom", "layers": layers}


def _cut(layers: int) -> dict[str, Any]:
    return {"_target_": "src.freezing.Cut", "layers": layers, "train": 0}


def _between(none: StrategyCost, upper: StrategyCost, share: float) -> StrategyCost:
    """The cost of freezing a share of the layers that are frozen in `upper`."""

    def mixed(one: float, other: float) -> float:
        return one + share * (other - one)

    return StrategyCost(
        mixed(none.epoch, upper.epoch),
        round(mixed(none.memory, upper.memory)),
        round(mixed(none.trainable, upper.trainable)),
        1.0,
        measured=False,
    )


def _measured(inputs: Inputs, freeze: Mapping[str, Any], inference: float) -> StrategyCost:
    from src.caching.costs import measure, plan_store
    from src.callbacks.stage_tables import stage_counts
    from src.models.checks import read_training
    from src.training.build import build

    cfg = copy.deepcopy(inputs.cfg)
    cfg.freeze = {**freeze, "reinit_top": 0}
    settings, strategy = read_training(cfg)
    module, datamodule = build(cfg, settings, strategy, inputs.source, inputs.corpus)
    datamodule.setup()
    module.enter_phase(0)
    recipe = plan_store(module, datamodule, settings)
    module.read_store(recipe.suffix if recipe else None)
    cost = measure(module, datamodule, settings, recipe, trial=True)
    trainable = sum(stage_counts(module, stage)[1] for stage in module.stages)
    return StrategyCost(cost.seconds or 0.0, cost.memory, trainable, inference, measured=True)
