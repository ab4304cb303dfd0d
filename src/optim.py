"""Optimizers and schedules: one parameter group a stage, decay where it belongs, rates as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.utils import get_class
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from src.freezing import HEAD, Stage

if TYPE_CHECKING:
    from src.freezable import FreezableModule


# Of the optimizer section; what else there is are arguments of the optimizer.
OWN_KEYS = ("_target_", "lr", "head_lr", "weight_decay", "layer_decay", "thaw_warmup")


def parameter_groups(
    stages: Sequence[Stage],
    parameters: Mapping[str, nn.Parameter],
    trained: frozenset[str],
    lr: float,
    head_lr: float | None,
    weight_decay: float,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """The optimizer's groups: one for each stage that ever trains, and one for its biases and norms, without decay.

    Args:
        parameters: by the names that the stages use.
        trained: the names of all parameters that train in any phase; no other enters the optimizer.
        lr: of the backbone's stages.
        head_lr: of the head; None means `lr`.
        layer_decay: the rate of each layer is this share of the rate of the layer above it, and the embeddings' of the
            first layer's (layer-wise rate decay, Clark et al. 2020).
        weight_decay: of matrices. Vectors (biases, norm weights) get none, since shrinking them does not regularise.
    """
    groups = []
    last = max((i for i, stage in enumerate(stages) if stage.is_layer), default=0)
    for index, stage in enumerate(stages):
        rate = lr * layer_decay ** max(0, last - index)
        if stage.name == HEAD:
            rate = lr if head_lr is None else head_lr
        members = [parameters[n] for n in stage.parameters if n in trained]
        for suffix, decay, chosen in (
            ("", weight_decay, [p for p in members if p.ndim > 1]),
            ("/no_decay", 0.0, [p for p in members if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"name": stage.name + suffix, "params": chosen, "lr": rate, "weight_decay": decay})
    return groups


def build_optimizer(cfg: DictConfig, precision: str | int, module: FreezableModule) -> Optimizer:
    """The optimizer over everything that trains in any phase.

    Args:
        cfg: the optimizer section: a `_target_`, the project's own keys and arguments of the target.
        precision: of the trainer.
        module: the network.
    """
    arguments = {str(k): v for k, v in cfg.items() if k not in OWN_KEYS}
    if precision == "16-mixed":
        # A fused optimizer unscales float16 gradients itself, after they would have been clipped.
        arguments.pop("fused", None)
    groups = parameter_groups(
        module.stages,
        module.named_stage_parameters(),
        module.trained,
        cfg.lr,
        cfg.head_lr,
        cfg.weight_decay,
        cfg.layer_decay,
    )
    optimizer: Optimizer = get_class(cfg._target_)(groups, **arguments)
    return optimizer


def linear(optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Up linearly over the first `warmup` share of the steps, then down linearly to zero at the last."""
    return LambdaLR(optimizer, lambda step: _rise(step, steps, warmup) * (1 - _progress(step, steps, warmup)))


def cosine(optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Up linearly over the first `warmup` share of the steps, then half a cosine down (Loshchilov & Hutter 2017)."""

    def factor(step: int) -> float:
        return _rise(step, steps, warmup) * 0.5 * (1 + math.cos(math.pi * _progress(step, steps, warmup)))

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, steps: int, warmup: float) -> LambdaLR:
    """Up linearly over the first `warmup` share of the steps, then the same rate to the end."""
    return LambdaLR(optimizer, lambda step: _rise(step, steps, warmup))


def one_cycle(optimizer: Optimizer, steps: int, rise: float) -> OneCycleLR:
    """Up to each group's rate over the first `rise` share of the steps, then far below (Smith & Topin 2018)."""
    return OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps + 1, pct_start=rise
    )


def _rise(step: int, steps: int, warmup: float) -> float:
    ramp = round(steps * warmup)
    # The first step counts as one, so that no step is wasted at a rate of zero.
    return min(1.0, (step + 1) / (ramp + 1))


def _progress(step: int, steps: int, warmup: float) -> float:
    ramp = round(steps * warmup)
    return min(1.0, max(0.0, (step - ramp) / max(1, steps - ramp)))
