"""Labels: what is learned, and what the labels are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from src.config.schema import Objective

SCORES = (
    "accuracy",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "precision_macro",
    "recall_macro",
    "auroc",
    "average_precision",
    "mcc",
    "ece",
)
MASKED_SCORES = ("perplexity", "accuracy", "accuracy_top5")


@dataclass(frozen=True)
class LabelSpace:
    """What is learned, and what the labels are.

    Args:
        objective: what is learned.
        names: of the labels in the order of the logits (binary: negative first; masked language modelling has none).
        typed: the names that are numbers, truth values or dates in the training file, and so may be written otherwise
            in another; None: not known, since the run is from a time that took all labels so where all were numbers.
        vectors: whether rows have a vector of 0 and 1, a position a label, instead of labels.
    """

    objective: Objective
    names: tuple[str, ...]
    typed: frozenset[str] | None = field(default=frozenset(), compare=False)
    vectors: bool = False

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """Those of a finished run.

        Args:
            result: the content of its result.json.
        """
        typed = result.get("typed_labels")
        names = tuple(result["labels"])
        return cls(
            result["objective"], names, None if typed is None else frozenset(typed), result.get("label_vectors", False)
        )

    def described(self) -> dict[str, Any]:
        """What result.json says of them."""
        return {
            "objective": self.objective,
            "labels": list(self.names),
            "typed_labels": None if self.typed is None else sorted(self.typed),
            "label_vectors": self.vectors,
        }

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of what is measured besides the loss; `src.modules.metrics` gives exactly these."""
        if self.objective == "mlm":
            return MASKED_SCORES
        return (*SCORES, "subset_accuracy", "hamming") if self.objective == "multilabel" else SCORES

    @property
    def outputs(self) -> int:
        """How many logits a text has: one for binary, otherwise one a label."""
        return 1 if self.objective == "binary" else len(self.names)
