"""Optimizers: parameter groups per stage with their learning rates and weight decay, and the scheduler that applies a
learning-rate schedule to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.utils import get_class
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.config.schema import Optimizer as Rates
from src.freezing.strategy import HEAD, Stage

if TYPE_CHECKING:
    from src.modules.freezable import FreezableModule

# Keys of the optimizer section; all others are arguments of the optimizer.
OWN_KEYS = ("_target_", "lr", "head_lr", "weight_decay", "layer_decay", "thaw_warmup")


# For `head_lr: auto`. A linear head on vectors that stay as they are is a convex problem, which takes a high rate: at
# 1e-3 it is far from its minimum after ten epochs.
HEAD_LR, PROBE_LR = 1e-3, 5e-3


def head_rate(chosen: Rates, is_probe: bool) -> float:
    """Returns the peak learning rate of the head.

    Args:
        chosen: the optimizer section of the config.
        is_probe: whether the head is linear, and nothing else trains.
    """
    if chosen.head_lr == "auto":
        return PROBE_LR if is_probe else HEAD_LR
    return chosen.lr if chosen.head_lr is None else chosen.head_lr


def parameter_groups(
    stages: Sequence[Stage],
    parameters: Mapping[str, nn.Parameter],
    trained: frozenset[str],
    lr: float,
    head_lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Returns the parameter groups: one per stage that ever trains, and one for its biases and norms, without decay.

    Args:
        parameters: by their names in the stages.
        trained: the names of all parameters that train in any phase; no other enters the optimizer.
        lr: learning rate of the backbone.
        head_lr: learning rate of the head.
        layer_decay: layer-wise learning-rate decay (Clark et al. 2020): the learning rate of each layer is that of the
            layer above it times this factor; that of the embeddings follows likewise from the first layer's.
        weight_decay: of matrices. Vectors (biases, norm weights) get none, since shrinking them does not regularise.
    """
    groups = []
    last = max((i for i, stage in enumerate(stages) if stage.is_layer), default=0)
    for index, stage in enumerate(stages):
        group_lr = lr * layer_decay ** max(0, last - index)
        if stage.name == HEAD:
            group_lr = head_lr
        members = [parameters[n] for n in stage.parameters if n in trained]
        for suffix, decay, chosen in (
            ("", weight_decay, [p for p in members if p.ndim > 1]),
            ("/no_decay", 0.0, [p for p in members if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"name": stage.name + suffix, "params": chosen, "lr": group_lr, "weight_decay": decay})
    return groups


def build_optimizer(cfg: DictConfig, head_lr: float, precision: str | int, module: FreezableModule) -> Optimizer:
    """Builds the optimizer for all parameters that train in any phase.

    Args:
        cfg: the optimizer section: a `_target_`, the project's own keys and arguments of the target.
        head_lr: the learning rate of the head.
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
        head_lr,
        cfg.weight_decay,
        cfg.layer_decay,
    )
    optimizer: Optimizer = get_class(cfg._target_)(groups, **arguments)
    return optimizer


class Schedule(LRScheduler):
    """Learning rates as a function of the number of scheduler steps only: a resumed run, even one that is now longer,
    follows its current schedule. (PyTorch's OneCycleLR restores the total steps from the checkpoint.)

    Args:
        optimizer: with the peak learning rates in its groups.
        factor: of the peak learning rates, by the number of scheduler steps.
        momentum: SGD's momentum or Adam's first beta, by the number of scheduler steps; None leaves it unchanged.
    """

    def __init__(
        self, optimizer: Optimizer, factor: Callable[[int], float], momentum: Callable[[int], float] | None = None
    ) -> None:
        self.factor, self.momentum = factor, momentum
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        for group in self.optimizer.param_groups if self.momentum else ():
            assert self.momentum is not None
            if "betas" in group:
                group["betas"] = (self.momentum(self.last_epoch), *group["betas"][1:])
            elif "momentum" in group:
                group["momentum"] = self.momentum(self.last_epoch)
        return [lr * self.factor(self.last_epoch) for lr in self.base_lrs]

    def resume(self) -> None:
        """Sets the current learning rates, since a checkpoint may contain those of another schedule."""
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("last_epoch", "_step_count")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in ("last_epoch", "_step_count"):
            setattr(self, name, state_dict[name])
