"""From a config to advice: one pass of the backbone over the texts, a probe per layer, the costs of the strategies.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import DictConfig

from src.advice.costs import StrategyCost, strategy_costs
from src.advice.encoded import encode
from src.advice.inputs import read_advisable
from src.advice.label_issues import Issue, label_issues
from src.advice.probes import ALL_LAYERS, FEWEST, Probe, all_pairs, metrics_of, probe_layers
from src.advice.texts import Texts, read_texts
from src.arrays import NDArray
from src.comparison.decision import Decision, decide
from src.config.sections import Cost
from src.data.corpus import Corpus
from src.data.labels import LabelSpace
from src.datamodules.text_problems import Truncated
from src.errors import UserError
from src.statistics.intervals import Interval
from src.training.clock import Clock


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
        cost: what is cheap.
        probed: different training texts that the probes read.
        given: training texts that there are.
        depth: layers of the backbone.
        layers: the embeddings, each layer, and all layers side by side.
        decision: among the layers that a head can read alone.
        together: by how much all layers side by side are better than the best layer, with an interval of its own; None
            where that cannot be estimated.
        costs: of strategies by name, the cheapest first.
        data: what is odd in the texts.
        truncated: by split, the texts that are cut off.
        contributions: of each probed text to the best layer's score.
        issues: labels that are probably wrong, the least probable first.
        corpus: that was read.
        seconds: by part of the work.
    """

    backbone: str
    metric: str
    margin: float
    cost: Cost
    probed: int
    given: int
    depth: int
    layers: Sequence[Layer]
    decision: Decision
    together: Interval | None
    costs: Mapping[str, StrategyCost]
    data: Texts
    truncated: Mapping[str, Truncated]
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
    def whole(self) -> bool:
        """Whether all training texts were looked at."""
        return self.probed + self.data.copies == self.given

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


def advise(cfg: DictConfig, metric: str | None, margin: float, cost: Cost, max_texts: int) -> Advice:
    """Looks at the texts of a config once, and says what it is worth to freeze.

    Args:
        cfg: of a run with `freeze=mix` and a linear head.
        metric: `accuracy` or `f1_macro`, of numbers `pearson` or `r2`; None: `accuracy`, for several labels per text
            `f1_macro`, of numbers `pearson`.
        margin: as in a comparison.
        cost: what is cheap, as in a comparison.
        max_texts: of each split that are read.

    Raises:
        UserError: the config, the backbone or the data cannot be used.
    """
    clock = Clock()
    with clock("data"):
        inputs, given = read_advisable(cfg, max_texts)
        data, first = read_texts(inputs.corpus)
    metric = _deciding(metric, inputs.corpus.space, int(first.sum()))
    encoded = encode(inputs, clock)
    with clock("probe"):
        targets = inputs.corpus.splits["train"].targets[first]
        probes = probe_layers(encoded.vectors[first], targets, inputs.corpus.space)
        issues = [] if inputs.corpus.space.is_regression else _issues(probes[-1], targets, first)
    layers, decision = _compared(probes, metric, margin)
    best = max(probes[1:-1], key=lambda found: found.score(metric))
    kept = next(found.layers for found in layers if found.name == decision.chosen)
    with clock("costs"):
        costs = strategy_costs(inputs, given, len(layers) - 2, kept, cost)
    return Advice(
        backbone=inputs.source.name,
        metric=metric,
        margin=margin,
        cost=cost,
        probed=int(first.sum()),
        given=given,
        depth=len(layers) - 2,
        layers=layers,
        decision=decision,
        together=all_pairs([probes[-1], best], metric).interval(ALL_LAYERS, best.name),
        costs=costs,
        data=data,
        truncated=encoded.truncated,
        contributions=best.contributions[metric],
        issues=issues,
        corpus=inputs.corpus,
        seconds=clock.read(),
    )


def _deciding(metric: str | None, space: LabelSpace, texts: int) -> str:
    """The score that decides: by default accuracy, where texts have several labels and suffice for it macro F1, of
    numbers the Pearson correlation.

    Raises:
        UserError: it is of another task, or there are too few texts for it.
    """
    usual, other = metrics_of(space)
    several = space.objective == "multilabel" and texts >= FEWEST["f1_macro"]
    metric = metric or (other if several else usual)
    if metric not in (usual, other):
        raise UserError(f"metric must be {usual} or {other} for this task; got {metric}.\nChoose one, or leave it out.")
    if texts < FEWEST[metric]:
        fix = "Add texts, or raise data.limit or data.train_size" if space.is_regression else f"Choose metric={usual}"
        raise UserError(
            f"Advice by {metric} needs at least {FEWEST[metric]} different training texts; there are {texts:,}.\n{fix}."
        )
    return metric


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
