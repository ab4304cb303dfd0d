"""Parameter-efficient strategies: biases, norms, low-rank adapters, a learned mix of the outputs of frozen layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from src.config.sections import Positive, Probability
from src.errors import UserError
from src.freezing.strategy import HEAD, STRICT, Patterns, Phase, Stage, Strategy, single_phase

NORM = re.compile(r"(^|[._])(layer_?norm|ln|norm\d?)\.(weight|bias)$", re.IGNORECASE)


ADAPTER = ".lora_"  # in the names of adapter parameters


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


@dataclass(frozen=True, config=STRICT)
class Lora(Strategy):
    """Low-rank adapters beside frozen matrices (Hu et al. 2022), and the head.

    Args:
        rank: of each adapter's matrices.
        alpha: an adapter's output is multiplied by alpha / rank.
        dropout: dropout rate of each adapter's input.
        targets: regular expressions, searched in the names of the backbone's linear layers.
    """

    by_name = True
    rank: Positive
    alpha: Positive
    dropout: Probability
    targets: Patterns

    @property
    def kind(self) -> str:
        return f"lora:{self.rank}"

    def find(self, stages: Sequence[Stage]) -> list[str]:
        """Returns the names of the layers that get an adapter.

        Raises:
            UserError: none of the patterns matches.
        """
        names = [n for stage in stages if stage.name != HEAD for n in stage.parameters]
        layers = [n.removesuffix(".weight").removesuffix(".base_layer") for n in names if n.endswith(".weight")]
        plain = [layer for layer in layers if ADAPTER not in layer]
        found = [layer for layer in plain if any(re.search(pattern, layer) for pattern in self.targets)]
        if not found:
            raise UserError(
                f"freeze.targets must match linear layers of the backbone; {self.targets} matches none.\n"
                f"Examples of their names: {', '.join(n for n in plain if '.0.' in n and 'norm' not in n.lower())}."
            )
        return found

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        self.find(stages)
        names = {n for stage in stages for n in stage.parameters if stage.name == HEAD or ADAPTER in n}
        return [Phase(frozenset(names))]


@dataclass(frozen=True, config=STRICT)
class Mix(Strategy):
    """Everything frozen; the head reads a learned mix of all layers' outputs (Peters et al. 2018, 2019)."""

    kind = "mix"

    def phases(self, stages: Sequence[Stage]) -> list[Phase]:
        return single_phase(stages, [stage.name == HEAD for stage in stages])
