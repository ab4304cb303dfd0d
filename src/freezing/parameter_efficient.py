"""Parameter-efficient strategies: biases, norms, low-rank adapters, a learned mix of the outputs of frozen layers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from src.config.sections import Positive, Probability
from src.errors import UserError, nearest
from src.freezing.strategy import HEAD, STRICT, Patterns, Phase, Stage, Strategy, single_phase

NORM = re.compile(r"(^|[._])(layer_?norm|ln|norm\d?)\.(weight|bias)$", re.IGNORECASE)


def _matching(stages: Sequence[Stage], pattern: re.Pattern[str], option: str, what: str) -> list[Phase]:
    backbone = {n for stage in stages if stage.name != HEAD for n in stage.parameters}
    chosen = {n for n in backbone if pattern.search(n)}
    if not chosen:
        raise UserError(f"freeze={option} needs a backbone that has {what}; this one has none.\nChoose freeze=lora.")
    head = {n for stage in stages if stage.name == HEAD for n in stage.parameters}
    return [Phase(frozenset(chosen | head))]


@dataclass(frozen=True, config=STRICT)
class Biases(Strategy):
    """The biases and the head train (BitFit, Ben Zaken et al. 2022)."""

    by_name = True
    kind = "bitfit"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return _matching(stages, re.compile(r"\.bias$"), self.kind, "biases")


@dataclass(frozen=True, config=STRICT)
class Norms(Strategy):
    """The weights and biases of layer norms and the head train."""

    by_name = True
    kind = "norms"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return _matching(stages, NORM, self.kind, "layer norms")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Adapters(Strategy):
    """Adapters of PEFT within a frozen backbone, and the head, train."""

    by_name = True

    @property
    @abstractmethod
    def prefix(self) -> str:
        """With what the names of the adapters' parameters begin."""

    @abstractmethod
    def find(self, stages: Sequence[Stage]) -> list[str] | None:
        """Returns the names of the layers that get an adapter; None: those that PEFT knows for the architecture.

        Raises:
            UserError: there are none.
        """

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        self.find(stages)
        adapter = f".{self.prefix}"
        names = {n for stage in stages for n in stage.parameters if stage.name == HEAD or adapter in n}
        return [Phase(frozenset(names))]

    def _matching(self, stages: Sequence[Stage], targets: Sequence[str]) -> list[str]:
        names = [n for stage in stages if stage.name != HEAD for n in stage.parameters]
        layers = [n.removesuffix(".weight").removesuffix(".base_layer") for n in names if n.endswith(".weight")]
        plain = [layer for layer in layers if f".{self.prefix}" not in layer]
        found = [layer for layer in plain if any(re.search(pattern, layer) for pattern in targets)]
        if not found:
            raise UserError(
                f"freeze.targets must match linear layers of the backbone; {targets} matches none.\n"
                f"Examples of their names: {', '.join(n for n in plain if '.0.' in n and 'norm' not in n.lower())}."
            )
        return found


@dataclass(frozen=True, config=STRICT)
class Lora(Adapters):
    """Low-rank adapters beside frozen matrices (Hu et al. 2022), and the head.

    Args:
        rank: of each adapter's matrices.
        alpha: an adapter's output is multiplied by alpha / rank.
        dropout: dropout rate of each adapter's input.
        targets: regular expressions, searched in the names of the backbone's linear layers.
    """

    rank: Positive
    alpha: Positive
    dropout: Probability
    targets: Patterns
    prefix = "lora_"

    @property
    def kind(self) -> str:
        return f"lora:{self.rank}"

    def find(self, stages: Sequence[Stage]) -> list[str]:
        return self._matching(stages, self.targets)


@dataclass(frozen=True, config=STRICT)
class Peft(Adapters):
    """Another method of PEFT that adds parameters to layers.

    Args:
        method: PEFT's name of it, in lower case, or dora.
        targets: regular expressions, searched in the names of the backbone's linear layers; None: PEFT's own choice for
            the architecture.
        options: arguments of PEFT's config of the method.
    """

    method: str
    targets: Patterns | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return f"peft:{self.method}"

    @property
    def prefix(self) -> str:
        return peft_method(self.method)[1]

    def find(self, stages: Sequence[Stage]) -> list[str] | None:
        peft_method(self.method)
        return None if self.targets is None else self._matching(stages, self.targets)


def peft_method(name: str) -> tuple[Any, str]:
    """Returns PEFT's config class of a method, and with what the names of its parameters begin.

    Raises:
        UserError: PEFT has no such method, or this project another name for it.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    if name == "lora":
        raise UserError("freeze=peft is for other methods than LoRA.\nChoose freeze=lora.")
    if name == "adalora":
        raise UserError("freeze.method=adalora sets ranks in a step of its own, which a training here does not take.")
    kinds = {kind.value.lower(): kind for kind in PEFT_TYPE_TO_TUNER_MAPPING if kind in PEFT_TYPE_TO_PREFIX_MAPPING}
    kinds["dora"] = kinds["lora"]
    if name not in kinds:
        raise UserError(
            f"freeze.method must be a method of PEFT that changes layers; got {name}.\n{nearest(name, kinds)}"
        )
    return PEFT_TYPE_TO_CONFIG_MAPPING[kinds[name]], PEFT_TYPE_TO_PREFIX_MAPPING[kinds[name]]


@dataclass(frozen=True, config=STRICT)
class Mix(Strategy):
    """Everything frozen; the head reads a learned mix of all layers' outputs (Peters et al. 2018, 2019)."""

    kind = "mix"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return single_phase(stages, [stage.name == HEAD for stage in stages])
