"""The objective of a run and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from src.config.data import Task
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
REGRESSION_SCORES = ("pearson", "spearman", "r2", "mae", "rmse")
MASKED_SCORES = ("perplexity", "accuracy", "accuracy_top5")


SEVERAL_LABELS_SCORES = ("subset_accuracy", "hamming")


LABEL_F1 = "f1/"  # before a label's name: the score that is its F1


def possible_scores(task: Task) -> tuple[str, ...]:
    """Returns the scores that a classifier or regressor may have, before its data is read.

    Args:
        task: `data.task`.
    """
    if task == "regression":
        return REGRESSION_SCORES
    return SCORES if task in ("binary", "multiclass") else (*SCORES, *SEVERAL_LABELS_SCORES)


@dataclass(frozen=True)
class LabelSpace:
    """The objective of a run and its labels.

    Args:
        objective: binary, multiclass, multilabel, regression or mlm.
        names: of the labels in the order of the logits (binary: negative first; masked language modelling has none); in
            regression, of the columns with the target numbers.
        typed: the names that are numbers, truth values or dates in the training file, and so may be written differently
            in another file; None: unknown, in runs of earlier versions, which read all numeric texts as numbers.
        vectors: whether rows have a 0/1 vector, with one position per label, instead of labels.
        mean: in regression, of each target in training.
        std: in regression, the standard deviation of each target in training.
    """

    objective: Objective
    names: tuple[str, ...]
    typed: frozenset[str] | None = field(default=frozenset(), compare=False)
    vectors: bool = False
    mean: tuple[float, ...] = field(default=(), compare=False)
    std: tuple[float, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """Returns the label space of a finished run.

        Args:
            result: the content of its result.json.
        """
        typed = result.get("typed_labels")
        names = tuple(result["labels"])
        return cls(
            result["objective"],
            names,
            None if typed is None else frozenset(typed),
            result.get("label_vectors", False),
            tuple(result.get("target_mean", ())),
            tuple(result.get("target_std", ())),
        )

    def described(self) -> dict[str, Any]:
        """Returns the entries for result.json."""
        return {
            "objective": self.objective,
            "labels": list(self.names),
            "typed_labels": None if self.typed is None else sorted(self.typed),
            "label_vectors": self.vectors,
            **({"target_mean": list(self.mean), "target_std": list(self.std)} if self.is_regression else {}),
        }

    @property
    def is_regression(self) -> bool:
        """Whether the targets are numbers."""
        return self.objective == "regression"

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the metrics besides the loss, as in `src.modules.metrics`."""
        if self.objective == "mlm":
            return MASKED_SCORES
        if self.is_regression:
            return REGRESSION_SCORES
        return possible_scores("multilabel") if self.objective == "multilabel" else SCORES

    @property
    def outputs(self) -> int:
        """The number of logits per text: one for binary, otherwise one per label."""
        return 1 if self.objective == "binary" else len(self.names)
