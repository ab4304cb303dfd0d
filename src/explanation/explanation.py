"""The explanation of one text by one run: attributions, attention, faithfulness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from src.explanation import attention, faithfulness
from src.explanation.attention import Attention
from src.explanation.faithfulness import Curves
from src.explanation.gradients import METHODS, TOLERANCE, Attribution
from src.explanation.question import Question
from src.explanation.scoring import LabelScores
from src.explanation.tokens import Tokens, Window

if TYPE_CHECKING:
    from src.models.networks import Network

MOST_LABELS = 4  # explained unless labels are chosen


@dataclass(frozen=True)
class Explanation:
    """Why a run predicts what it predicts for a text.

    Args:
        tokens: the tokenized text.
        probabilities: of all labels by name, in the run's order.
        labels: the explained labels, the most probable first.
        attributions: by method; rows are these labels.
        attention: of all layers and heads; None if not requested.
        layers: indices of the shown layers.
        heads: indices of the shown heads.
        curves: faithfulness for the first of these labels, by method, and of `random` orders.
        regression: whether labels are targets, and probabilities the numbers that are predicted of them.
    """

    tokens: Tokens
    probabilities: dict[str, float]
    labels: list[str]
    attributions: dict[str, Attribution]
    attention: Attention | None
    layers: Sequence[int]
    heads: Sequence[int]
    curves: dict[str, Curves]
    regression: bool = False

    @property
    def likeliest(self) -> str:
        """The most probable of all labels, whether explained or not; of targets, the first."""
        return (
            next(iter(self.probabilities))
            if self.regression
            else max(self.probabilities, key=self.probabilities.__getitem__)
        )

    def warnings(self) -> list[str]:
        """Returns what limits the reliability of the values."""
        found = []
        for name, attribution in self.attributions.items():
            for label, missing in zip(self.labels, attribution.missing.tolist(), strict=True):
                if attribution.steps and missing >= TOLERANCE:
                    found.append(
                        f"{name.replace('_', ' ')} of {label}: after {attribution.steps} steps the sum of the values "
                        f"differs from the change of the score by {missing:.0%}, not less than {TOLERANCE:.0%}."
                    )
        if self.tokens.window:
            return [*found, self._said_of(self.tokens.window)]
        names = ["text"] if len(self.tokens.sides) == 1 else ["first text", "second text"]
        for (begin, end), which in zip(self.tokens.sides, names, strict=True):
            if cut := len(self.tokens.unread(begin, end).split()):
                place = {"head": "last ", "tail": "first "}.get(self.tokens.truncation, "")
                found.append(
                    f"The {which} is truncated to {len(self.tokens.ids)} tokens; "
                    + (f"the {place}{cut} words are ignored." if place else f"{cut} words in its middle are ignored.")
                )
        return found

    def _said_of(self, window: Window) -> str:
        """Returns which part of the document is explained."""
        spans = [*self.tokens.spans.values()]
        begin, end = spans[0][0], spans[-1][1]
        first, last = len(self.tokens.text[:begin].split()) + 1, len(self.tokens.text[:end].split())
        change = f"{window.label} would change" if self.regression else f"the probability of {window.label} would fall"
        count, cut = len(window.logits), len(self.tokens.text[window.read :].split())
        unread = f" The last {cut} words are beyond data.max_windows={count} and are ignored." if cut else ""
        return (
            f"The text is read in {count} windows; this explains window {window.index + 1}, words {first} to {last}, "
            f"without which {change} most. All values are changes of the whole text's score.{unread}"
        )


def explain(
    network: Network, tokens: Tokens, question: Question, on_step: Callable[[str], object] = lambda step: None
) -> Explanation:
    """Explains the prediction for one text.

    Args:
        network: in evaluation mode.
        tokens: the tokenized text.
        question: what to explain.
        on_step: called with the name of each step before it starts.

    Raises:
        UserError: eager attention does not give the network's own logits.
    """
    scores = LabelScores(network)
    with torch.no_grad():
        probs = scores.probabilities(scores(tokens.ids[None], tokens))[0]
    names, regression = network.space.names, network.space.is_regression
    ranked = range(len(names)) if regression else probs.argsort(descending=True).tolist()
    order = [i for i in ranked if question.labels is None or names[i] in question.labels]
    labels = order if question.labels else order[:MOST_LABELS]
    methods = [name for name in METHODS if name in question.methods]
    attributions, curves, maps = {}, {}, None
    for name in methods:
        on_step(name.replace("_", " "))
        attributions[name] = METHODS[name](scores, tokens, labels)
        curves[name] = faithfulness.by_importance(scores, tokens, labels[0], attributions[name].values[0])
    if curves:
        on_step("words in random order")
        curves["random"] = faithfulness.at_random(scores, tokens, labels[0])
    if "attention" in question.methods:
        on_step("attention")
        maps = attention.attend(scores, tokens, labels)
    return Explanation(
        tokens,
        dict(zip(names, probs.tolist(), strict=True)),
        [names[label] for label in labels],
        attributions,
        maps,
        question.layers,
        question.heads,
        curves,
        regression,
    )


def as_record(found: Explanation) -> dict[str, Any]:
    """Returns an explanation as values for JSON; attention is summarised per head."""
    tokens = found.tokens
    return {
        "text": tokens.text,
        **({"window": {"number": window.index + 1, "of": len(window.logits)}} if (window := tokens.window) else {}),
        ("numbers" if found.regression else "probabilities"): found.probabilities,
        "labels": found.labels,
        "tokens": [
            {"token": name, "special": special, "word": None if special else word}
            for name, special, word in zip(tokens.names, tokens.special.tolist(), tokens.words, strict=True)
        ],
        "words": [
            {
                "number": number,
                "word": tokens.word(number),
                "begin": begin,
                "end": end,
                **({"side": tokens.side(number)} if len(tokens.sides) > 1 else {}),
            }
            for number, (begin, end) in tokens.spans.items()
        ],
        "importance": {name: _importance_record(a, found) for name, a in found.attributions.items()},
        "faithfulness": {name: _faithfulness_record(curves) for name, curves in found.curves.items()},
        "attention": attention_record(found),
        "warnings": found.warnings(),
    }


def _importance_record(importance: Attribution, found: Explanation) -> dict[str, Any]:
    """Returns by label: the values of tokens and words, and how completely they add up."""
    by_label = {
        "tokens": importance.values,
        "words": found.tokens.by_word(importance.values),
        "change": importance.change,
        "missing": importance.missing,
    }
    named = {name: dict(zip(found.labels, of.tolist(), strict=True)) for name, of in by_label.items()}
    return {**named, "steps": importance.steps}


def _faithfulness_record(curves: Curves) -> dict[str, Any]:
    """Returns each measure: its value for a single order, mean and 90% band for random orders."""
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
    """Returns for each chosen head its entropy in bits and the fraction of its attention to each special token."""
    if found.attention is None:
        return []
    tokens = found.tokens
    marks = [name if special else "" for name, special in zip(tokens.names, tokens.special.tolist(), strict=True)]
    weights = found.attention.weights
    entropy = attention.entropy(weights)
    masses = {
        name: attention.mass(weights, torch.tensor([mark == name for mark in marks]))
        for name in dict.fromkeys(filter(None, marks))
    }
    return [
        {
            "layer": layer,
            "head": head,
            "entropy": float(entropy[layer, head]),
            **{name: float(mass[layer, head]) for name, mass in masses.items()},
        }
        for layer in found.layers
        for head in found.heads
    ]
