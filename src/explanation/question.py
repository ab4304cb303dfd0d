"""What is explained of a run's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.errors import UserError
from src.explanation.options import Options

if TYPE_CHECKING:
    from src.prediction.predictor import Predictor
    from src.runs.folder import RunFolder


@dataclass(frozen=True)
class Question:
    """What to explain.

    Args:
        methods: names of attribution methods, and `attention`.
        layers: indices of the layers whose attention is shown, counted from the input.
        heads: indices of the heads of these layers.
        labels: names of the labels to explain; None: the most probable ones.
    """

    methods: Sequence[str]
    layers: Sequence[int]
    heads: Sequence[int]
    labels: Sequence[str] | None

    @classmethod
    def of(cls, options: Options, predictor: Predictor, run: RunFolder) -> Question:
        """Returns what to explain of one run's model.

        Raises:
            UserError: the model does not have these layers or heads.
        """
        model = predictor.network.encoder.config
        layers = _existing("layers", options.layers, int(model.num_hidden_layers), run)
        heads = _existing("heads", options.heads, int(model.num_attention_heads), run)
        return cls(options.methods, layers, heads, options.labels)


def _existing(key: str, chosen: Sequence[int] | None, count: int, run: RunFolder) -> Sequence[int]:
    """Returns the indices of the chosen layers or heads, or of all."""
    if chosen is None:
        return range(count)
    if wrong := [index for index in chosen if not 0 <= index < count]:
        raise UserError(
            f"{key} must be in 0..{count - 1} for {run.path}; got {', '.join(map(str, wrong))}.\n"
            f"Give a list such as {key}=[0,{count - 1}], or all."
        )
    return chosen
