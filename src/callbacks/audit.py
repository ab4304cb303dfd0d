"""Proof that a phase trained what it should: frozen parameters stayed bit-identical, trainable ones changed."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from src.freezing.strategy import HEAD, Stage
from src.modules.freezable import FreezableModule

log = logging.getLogger(__name__)

LOOKS = 20  # steps of a phase in which each gradient is held against the precision of its parameter


class AuditError(Exception):
    """A frozen parameter changed, or a trainable one that got a gradient did not. Names it."""


class Audit:
    """Watches one phase. What it keeps are primitives, so that a resumed run continues the same audit."""

    def __init__(self) -> None:
        self.before: dict[str, int] = {}  # the fingerprint of each parameter when the phase began
        self.graded: set[str] = set()  # parameters that have had a gradient other than zero
        self.due: set[str] = set()  # those that have had one large enough to move them
        self.steps = 0  # of the optimizer

    def begin(self, module: FreezableModule) -> None:
        """Takes the fingerprints that the end is compared with."""
        self.before, self.graded, self.due, self.steps = fingerprints(module), set(), set(), 0

    def watch(self, module: FreezableModule, optimizer: Optimizer) -> None:
        """Notes which parameters have a gradient, and which of them the step must move; called before each optimizer
        step, cheap after the first few."""
        trainable = module.phases[module.phase].trainable
        waiting = trainable - (self.graded if self.steps >= LOOKS else self.due)
        self.steps += 1
        if not waiting:
            return
        named = module.named_stage_parameters()
        grads = {name: grad for name in waiting if (grad := named[name].grad) is not None}
        graded = _where(grads, lambda name: grads[name].count_nonzero())
        if not graded:
            return
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in named.values() if p.grad is not None]))
        if not math.isfinite(norm):  # a float16 scaler leaves the step out
            return
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        scale = min(1.0, min(1.0, module.trainer.gradient_clip_val or 1.0) / norm)
        self.graded |= graded
        self.due |= _where(graded, lambda name: _moves(named[name], rates[id(named[name])] * scale * grads[name]))

    def check_frozen(self, module: FreezableModule) -> dict[str, int]:
        """The fingerprints as they are now.

        Raises:
            AuditError: a frozen parameter is not what it was when the phase began.
        """
        now, trainable = fingerprints(module), module.phases[module.phase].trainable
        if moved := sorted(n for n, before in self.before.items() if n not in trainable and now.get(n) != before):
            raise AuditError(f"phase {module.phase + 1}: frozen parameters have changed: {_some(moved)}")
        return now

    def accept_frozen(self, module: FreezableModule) -> None:
        """Takes the frozen parameters as they are now for those that the phase began with."""
        trainable = module.phases[module.phase].trainable
        self.before |= {name: found for name, found in fingerprints(module).items() if name not in trainable}

    def end(self, module: FreezableModule) -> list[dict[str, Any]]:
        """The table of the phase, one row a stage.

        Raises:
            AuditError: a frozen parameter changed, or a trainable one that got a gradient did not.
        """
        now = self.check_frozen(module)
        stuck = sorted(n for n in self.graded if now[n] == self.before[n])
        if broken := [name for name in stuck if name in self.due]:
            raise AuditError(
                f"phase {module.phase + 1}: parameters that train and got a gradient have not changed: {_some(broken)}"
            )
        self._warn_of_idle(module.phase + 1, stuck)
        return [self._row(module, stage, now) for stage in module.stages]

    def _warn_of_idle(self, phase: int, stuck: list[str]) -> None:
        """
        Args:
            phase: its number, from 1.
            stuck: parameters that got a gradient and have not changed.
        """
        if not self.graded:
            log.warning("In phase %d no gradient was finite and other than zero, so nothing was learned.", phase)
        if stuck:
            log.warning(
                "In phase %d no step was large enough to change these parameters in their precision: %s.\n"
                "Raise the learning rate: optimizer.lr, optimizer.head_lr.",
                phase,
                _some(stuck),
            )

    def _row(self, module: FreezableModule, stage: Stage, now: Mapping[str, int]) -> dict[str, Any]:
        own = set(stage.parameters)
        return {
            "stage": stage.name,
            "parameters": count(module, stage.parameters),
            "trainable": count(module, own & module.phases[module.phase].trainable),
            "in_optimizer": count(module, own & _optimized(module)),
            "mode": mode(module, stage),
            "got_gradient": count(module, own & self.graded),
            "before": _together({n: self.before[n] for n in stage.parameters}),
            "after": _together({n: now[n] for n in stage.parameters}),
        }

    def state_dict(self) -> dict[str, Any]:
        kept = {"before": self.before, "graded": sorted(self.graded), "due": sorted(self.due)}
        return {**kept, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.before, self.graded, self.due = dict(state["before"]), set(state["graded"]), set(state.get("due", ()))
        self.steps = state.get("steps", LOOKS)


def _where(names: Iterable[str], holds: Callable[[str], Tensor]) -> set[str]:
    """The names of which something holds; a GPU is waited for once, not for each of them."""
    asked = [*names]
    answers = torch.stack([holds(name) for name in asked]).tolist() if asked else []
    return {name for name, answer in zip(asked, answers, strict=True) if answer}


def _moves(parameter: Tensor, step: Tensor) -> Tensor:
    """Whether a step is large enough to change a parameter in its precision. Those of Adam and of SGD are no smaller
    than the rate times the gradient, clipped to a norm of 1."""
    return (parameter.detach() - step != parameter.detach()).any()


def fingerprints(module: FreezableModule) -> dict[str, int]:
    """A checksum of each parameter's bits."""
    return {name: _checksum(parameter.detach()) for name, parameter in module.named_stage_parameters().items()}


def count(module: FreezableModule, names: Any) -> int:
    """How many numbers these parameters hold."""
    named = module.named_stage_parameters()
    return sum(named[name].numel() for name in names)


def mode(module: FreezableModule, stage: Stage) -> str:
    """The mode of the modules that own the stage's parameters: `train`, `eval`, or `mixed`."""
    owners = {name.rpartition(".")[0] for name in stage.parameters}
    modes = {_owner(module, owner).training for owner in owners}
    return "mixed" if len(modes) > 1 else "train" if modes == {True} else "eval"


def _owner(module: FreezableModule, name: str) -> nn.Module:
    in_head = name == HEAD or name.startswith(f"{HEAD}.")
    return module.get_submodule(name) if in_head else module.encoder.get_submodule(name)


def _checksum(tensor: Tensor) -> int:
    values = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy()
    return zlib.crc32(np.ascontiguousarray(values).data)


def _together(parts: Mapping[str, int]) -> str:
    return f"{zlib.crc32(repr(sorted(parts.items())).encode()):08x}"


def _optimized(module: FreezableModule) -> set[str]:
    groups: Any = module.trainer.optimizers[0].param_groups
    known = {id(parameter) for group in groups for parameter in group["params"]}
    named: dict[str, nn.Parameter] = module.named_stage_parameters()
    return {name for name, parameter in named.items() if id(parameter) in known}


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
