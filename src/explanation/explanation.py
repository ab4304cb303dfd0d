"""All that is asked about one text under one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from src.explanation import attention, faithfulness
from src.explanation.attention import Attention
from src.explanation.faithfulness import Curves
from src.explanation.gradients import METHODS, TOLERANCE, Attribution
from src.explanation.scoring import LabelScores
from src.explanation.tokens import Tokens

if TYPE_CHECKING:
    from src.models.networks import Network

MOST_LABELS = 4  # that are explained unless others are asked for


@dataclass(frozen=True)
class Question:
    """What is asked about a text.

    Args:
        methods: of importance, by name, and `attention`.
        layers: whose attention is kept, counted from the input.
        heads: of these layers.
        labels: to explain, by name; None: the likeliest few.
    """

    methods: Sequence[str]
    layers: Sequence[int]
    heads: Sequence[int]
    labels: Sequence[str] | None


@dataclass(frozen=True)
class Explanation:
    """Why a run says of a text what it says.

    Args:
        tokens: the text.
        probabilities: of all labels by name, in the run's order.
        labels: those that are explained, the likeliest of them first.
        attributions: by method; rows are these labels.
        attention: of the layers and heads that were asked for.
        layers: the numbers of these layers.
        heads: the numbers of these heads.
        curves: of the first of these labels, by method, and of `random` orders.
    """

    tokens: Tokens
    probabilities: dict[str, float]
    labels: list[str]
    attributions: dict[str, Attribution]
    attention: Attention | None
    layers: Sequence[int]
    heads: Sequence[int]
    curves: dict[str, Curves]

    @property
    def likeliest(self) -> str:
        """The label that the run says, whichever labels are explained."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def warnings(self) -> list[str]:
        """What a reader must know before believing the values."""
        found = []
        for name, attribution in self.attributions.items():
            for label, missing in zip(self.labels, attribution.missing.tolist(), strict=True):
                if attribution.steps and missing >= TOLERANCE:
                    found.append(
                        f"{name.replace('_', ' ')} of {label}: after {attribution.steps} steps the values add up to "
                        f"the change of the score only within {missing:.0%}; they should within {TOLERANCE:.0%}."
                    )
        end = max(end for _, end in self.tokens.spans.values())
        if cut := len(self.tokens.text[end:].split()):
            found.append(f"The text is cut after {len(self.tokens.ids)} tokens; the last {cut} words are not read.")
        return found


def explain(
    network: Network, tokens: Tokens, question: Question, doing: Callable[[str], object] = lambda part: None
) -> Explanation:
    """
    Args:
        network: in evaluation mode.
        tokens: the text.
        question: what to find out.
        doing: is told of each part before it begins, what it is.

    Raises:
        UserError: attention that shows its weights does not give the network's own logits.
    """
    scores = LabelScores(network)
    with torch.no_grad():
        probs = scores.probabilities(scores(tokens.ids[None], tokens.mask))[0]
    names = network.space.names
    order = [
        i for i in probs.argsort(descending=True).tolist() if question.labels is None or names[i] in question.labels
    ]
    labels = order if question.labels else order[:MOST_LABELS]
    asked = [name for name in METHODS if name in question.methods]
    attributions, curves, attended = {}, {}, None
    for name in asked:
        doing(name.replace("_", " "))
        attributions[name] = METHODS[name](scores, tokens, labels)
        curves[name] = faithfulness.by_importance(scores, tokens, labels[0], attributions[name].values[0])
    if curves:
        doing("words in random order")
        curves["random"] = faithfulness.at_random(scores, tokens, labels[0])
    if "attention" in question.methods:
        doing("attention")
        attended = attention.attend(scores, tokens, labels)
    return Explanation(
        tokens,
        dict(zip(names, probs.tolist(), strict=True)),
        [names[label] for label in labels],
        attributions,
        attended,
        question.layers,
        question.heads,
        curves,
    )


def as_record(found: Explanation) -> dict[str, Any]:
    """An explanation as plain values, for JSON; attention as what sums up each head."""
    tokens = found.tokens
    return {
        "text": tokens.text,
        "probabilities": found.probabilities,
        "labels": found.labels,
        "tokens": [
            {"token": name, "special": special, "word": None if special else word}
            for name, special, word in zip(tokens.names, tokens.special.tolist(), tokens.words, strict=True)
        ],
        "words": [
            {"number": number, "word": tokens.text[begin:end], "begin": begin, "end": end}
            for number, (begin, end) in tokens.spans.items()
        ],
        "importance": {
            name: {
                "tokens": dict(zip(found.labels, a.values.tolist(), strict=True)),
                "words": dict(zip(found.labels, tokens.by_word(a.values).tolist(), strict=True)),
                "change": dict(zip(found.labels, a.change.tolist(), strict=True)),
                "missing": dict(zip(found.labels, a.missing.tolist(), strict=True)),
                "steps": a.steps,
            }
            for name, a in found.attributions.items()
        },
        "faithfulness": {name: _faithfulness_record(curves) for name, curves in found.curves.items()},
        "attention": attention_record(found),
        "warnings": found.warnings(),
    }


def _faithfulness_record(curves: Curves) -> dict[str, Any]:
    """Each measure: of one order its value, of random ones the mean and the band of nine tenths."""
    measures = {
        "comprehensiveness": curves.comprehensiveness,
        "sufficiency": curves.sufficiency,
        "deletion": curves.deletion_area,
        "insertion": curves.insertion_area,
    }
    return {
        name: {"mean": float(values.mean())} | ({"low": float(low), "high": float(high)} if len(values) > 1 else {})
        for name, values in measures.items()
        for low, high in [faithfulness.band(values).tolist()]
    }


def attention_record(found: Explanation) -> list[dict[str, Any]]:
    """Of each chosen head its entropy in bits, and the share of attention that goes to each special token."""
    if found.attention is None:
        return []
    special = found.tokens.special.nonzero().flatten()
    places = {found.tokens.names[place]: place for place in special.tolist()}
    weights = found.attention.weights
    spread = attention.entropy(weights)
    shares = {name: attention.mass(weights, torch.arange(weights.shape[-1]) == place) for name, place in places.items()}
    return [
        {
            "layer": layer,
            "head": head,
            "entropy": float(spread[layer, head]),
            **{name: float(share[layer, head]) for name, share in shares.items()},
        }
        for layer in found.layers
        for head in found.heads
    ]
