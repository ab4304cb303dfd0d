"""Optimizers and schedules: one parameter group a stage, decay where it belongs, rates as functions of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.utils import get_class
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.freezing.strategy import HEAD, Stage

if TYPE_CHECKING:
    from src.modules.freezable import FreezableModule

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


class Schedule(LRScheduler):
    """Rates as a function of how often the schedule has moved, and of nothing else: a run that goes on, maybe for
    longer than was planned, finds its place in the plan that holds now. (PyTorch's one cycle keeps the plan of its
    checkpoint, and ends with it.)

    Args:
        optimizer: whose groups hold their peak rates.
        share: of the peak rates, after so many moves.
        momentum: likewise, of SGD's momentum or Adam's first beta; None leaves it alone.
    """

    def __init__(
        self, optimizer: Optimizer, share: Callable[[int], float], momentum: Callable[[int], float] | None = None
    ) -> None:
        self.share, self.momentum = share, momentum
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        for group in self.optimizer.param_groups if self.momentum else ():
            assert self.momentum is not None
            if "betas" in group:
                group["betas"] = (self.momentum(self.last_epoch), *group["betas"][1:])
            elif "momentum" in group:
                group["momentum"] = self.momentum(self.last_epoch)
        return [rate * self.share(self.last_epoch) for rate in self.base_lrs]

    def resume(self) -> None:
        """Sets the rates of this moment, since those of a checkpoint may be of another plan."""
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("last_epoch", "_step_count")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in ("last_epoch", "_step_count"):
            setattr(self, name, state_dict[name])
