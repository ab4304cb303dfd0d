"""From a config to advice: one pass of the backbone over the texts, a probe per layer, the costs of the strategies.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from src.advice.costs import StrategyCost, strategy_costs
from src.advice.encoded import encode
from src.advice.label_issues import Issue, label_issues
from src.advice.probes import ALL_LAYERS, FEWEST, Probe, all_pairs, probe_layers
from src.advice.texts import Texts, read_texts
from src.comparison.decision import Decision, decide
from src.config.backbone import Scratch
from src.config.model import LinearHead
from src.data.corpus import Corpus, sampled
from src.errors import UserError
from src.freezing.parameter_efficient import Mix
from src.models.checks import read_training
from src.statistics.intervals import Interval
from src.training.clock import Clock
from src.training.inputs import read_inputs
from src.training.libraries import importing_libraries


@dataclass(frozen=True)
class Layer:
    """What a linear head on the frozen output of one layer reaches; leave-one-out.

    Args:
        name: `embeddings`, `layer 4`, or `all layers` side by side.
        layers: of the backbone that it needs.
        scores: with their intervals for other texts.
        below_best: by how much it is below the best single layer at most; None for all layers, and where that cannot be
            estimated.
    """

    name: str
    layers: int
    scores: Mapping[str, Interval]
    below_best: float | None


@dataclass(frozen=True)
class Advice:
    """What one pass over the texts says. All claims about layers hold together with 95% confidence, for other texts, of
    heads that are trained on these.

    Args:
        backbone: its name.
        metric: the score that decides.
        margin: by how much lower a score may be and still count as as good.
        probed: different training texts that the probes read.
        given: training texts that there are.
        depth: layers of the backbone.
        layers: the embeddings, each layer, and all layers side by side.
        decision: among the layers that a head can read alone.
        together: by how much all layers side by side are better than the best layer, with an interval of its own; None
            where that cannot be estimated.
        costs: of strategies by name, from the cheapest to the dearest.
        data: what is odd in the texts.
        contributions: of each probed text to the best layer's score.
        issues: labels that are probably wrong, the least probable first.
        corpus: that was read.
        seconds: by part of the work.
    """

    backbone: str
    metric: str
    margin: float
    probed: int
    given: int
    depth: int
    layers: Sequence[Layer]
    decision: Decision
    together: Interval | None
    costs: Mapping[str, StrategyCost]
    data: Texts
    contributions: NDArray[np.float64]
    issues: Sequence[Issue]
    corpus: Corpus
    seconds: Mapping[str, float]

    def layer(self, name: str) -> Layer:
        return next(found for found in self.layers if found.name == name)

    def strategy(self, layer: Layer) -> str:
        """The strategy that trains such a head; empty for the embeddings, which no strategy reads alone."""
        if layer.name == ALL_LAYERS:
            return "mix"
        return "" if not layer.layers else "all" if layer.layers == self.depth else f"cut:{layer.layers}"

    @property
    def mix(self) -> bool:
        """Whether all layers together are shown to be better than the best one."""
        return self.together is not None and self.together.low > 0

    @property
    def best(self) -> Layer:
        """The single layer with the highest score."""
        return max(self.layers[1:-1], key=lambda found: found.scores[self.metric].value)

    @property
    def chosen(self) -> Layer:
        """The cheapest layer that is as good as the best one, as far as the texts show."""
        assert self.decision.chosen is not None
        return self.layer(self.decision.chosen)


def advise(cfg: DictConfig, metric: str | None, margin: float, max_texts: int) -> Advice:
    """Looks at the texts of a config once, and says what it is worth to freeze.

    Args:
        cfg: of a run with `freeze=mix` and a linear head.
        metric: `accuracy` or `f1_macro`; None: the latter for several labels per text.
        margin: as in a comparison.
        max_texts: of each split that are read.

    Raises:
        UserError: the config, the backbone or the data cannot be used.
    """
    clock = Clock()
    _check(cfg)
    with clock("data"):
        inputs = read_inputs(cfg)
        if inputs.source.shares_layers:
            raise UserError(
                f"Advice needs a backbone with layers of its own; those of {inputs.source.name} share one set of "
                "parameters.\nChoose another backbone."
            )
        given = len(inputs.corpus.splits["train"])
        inputs = dataclasses.replace(inputs, corpus=sampled(inputs.corpus, max_texts, inputs.settings.data.seed))
    with clock("import"), importing_libraries():
        from src.training.build import build
    with clock("build"):
        module, datamodule = build(cfg, inputs.settings, inputs.strategy, inputs.source, inputs.corpus)
        datamodule.setup()
        module.enter_phase(0)
    data, first = read_texts(inputs.corpus, datamodule.tokens)
    several = inputs.corpus.space.objective == "multilabel" and first.sum() >= FEWEST["f1_macro"]
    metric = metric or ("f1_macro" if several else "accuracy")
    if first.sum() < FEWEST[metric]:
        raise UserError(
            f"metric={metric} needs at least {FEWEST[metric]} different training texts; there are {first.sum():,}.\n"
            "Choose metric=accuracy."
        )
    with clock("encode"):
        vectors = encode(inputs, module, datamodule)
    with clock("probe"):
        targets = inputs.corpus.splits["train"].targets[first]
        probes = probe_layers(vectors[first], targets, inputs.corpus.space)
        issues = _issues(probes[-1], targets, first)
    layers, decision = _compared(probes, metric, margin)
    best = max(probes[1:-1], key=lambda found: found.score(metric))
    kept = next(found.layers for found in layers if found.name == decision.chosen)
    with clock("costs"):
        costs = strategy_costs(inputs, len(layers) - 2, kept)
    return Advice(
        backbone=inputs.source.name,
        metric=metric,
        margin=margin,
        probed=int(first.sum()),
        given=given,
        depth=len(layers) - 2,
        layers=layers,
        decision=decision,
        together=all_pairs([probes[-1], best], metric).interval(ALL_LAYERS, best.name),
        costs=costs,
        data=data,
        contributions=best.contributions[metric],
        issues=issues,
        corpus=inputs.corpus,
        seconds={**clock.seconds, "total": clock.total()},
    )


def _check(cfg: DictConfig) -> None:
    """
    Raises:
        UserError: the config is not one that advice can be given for.
    """
    settings, strategy = read_training(cfg)
    if not isinstance(strategy, Mix):
        raise UserError(f"Advice is about all strategies; got freeze={strategy.name}.\nLeave out freeze=….")
    if not isinstance(settings.model, LinearHead) or settings.model.pooling == "pooler":
        raise UserError(
            "Advice reads one vector per text and layer, so the head must be model=bert_linear with model.pooling=mean "
            "or cls.\nLeave out model=…."
        )
    if isinstance(settings.backbone, Scratch) or cfg.pretrain:
        raise UserError(
            "Advice needs a pretrained backbone; this one would start from random weights.\nChoose another."
        )
    if settings.activations.mode == "off":
        raise UserError("Advice needs an activation store; got activations=off.\nLeave it out.")


def _issues(all_layers: Probe, targets: NDArray[Any], first: NDArray[np.bool_]) -> list[Issue]:
    """The label issues, with the indices of the texts among all training texts."""
    place = np.flatnonzero(first)
    found = label_issues(all_layers.probs, targets)
    return [dataclasses.replace(issue, text=int(place[issue.text])) for issue in found]


def _compared(probes: Sequence[Probe], metric: str, margin: float) -> tuple[list[Layer], Decision]:
    """The layers with their scores, and which of them to read: the cheapest that is as good as the best one."""
    readable = probes[1:-1]  # what a strategy can read alone
    ordered = sorted(readable, key=lambda found: -found.score(metric))
    pairs = all_pairs(readable, metric)
    scores = {found.name: found.score(metric) for found in ordered}
    decision = decide(scores, {found.name: float(found.layers) for found in readable}, pairs, margin, {})
    if decision.chosen is None:  # all layers predict the same
        decision = dataclasses.replace(decision, chosen=readable[0].name)
    layers = [
        Layer(
            found.name,
            found.layers,
            {name: found.interval(name) for name in found.contributions},
            decision.loss.get(found.name),
        )
        for found in probes
    ]
    return layers, decision
