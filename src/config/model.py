"""The model section of a config."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from omegaconf import DictConfig, OmegaConf
from pydantic import Field, model_validator

from src.config.reading import WindowPooling
from src.config.sections import Component, Fraction, Positive, Probability, Section, UnitInterval

Pooling = Literal["mean", "cls", "pooler"]


StatePooling = Literal["max", "mean", "last"]


class ClassifierHead(Component):
    """A head that predicts labels or numbers, the loss that it is trained with, and how the logits of a document's
    windows become one; where nothing is said, cross-entropy or the mean squared error, and their mean."""

    loss: Literal["cross_entropy", "focal", "mse", "huber"] | None = None
    label_smoothing: Probability | None = None
    focal_gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    windows: WindowPooling | None = None

    @model_validator(mode="after")
    def is_one_loss(self) -> Self:
        if self.focal_gamma is not None and self.loss != "focal":
            raise ValueError("focal_gamma is of the focal loss.\nChoose it too, model.loss=focal, or leave it out")
        return self

    @property
    def gamma(self) -> float:
        """Of the focal loss; 0 for cross-entropy."""
        return (2.0 if self.focal_gamma is None else self.focal_gamma) if self.loss == "focal" else 0.0


class LinearHead(ClassifierHead):
    pooling: Pooling
    dropout: Probability


class BiLSTMHead(ClassifierHead):
    hidden_size: Positive
    layers: Positive
    pooling: StatePooling
    dropout: Probability


class Masking(Section):
    """Which tokens are predicted, and what replaces them in the input."""

    probability: Fraction
    mask: UnitInterval
    random: UnitInterval
    whole_words: bool

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        if self.mask + self.random > 1:
            raise ValueError(
                f"mask and random are fractions of the same tokens and must add up to at most 1; "
                f"they add up to {self.mask + self.random:g}"
            )
        return self


class MaskedLanguageHead(Component):
    masking: Masking


def head_arguments(model: DictConfig) -> DictConfig:
    """Returns the section of a head without the keys that are not the head's own: those of the loss, which tokens are
    masked, and how windows are combined."""
    others = ("masking", "loss", "label_smoothing", "focal_gamma", "windows")
    return OmegaConf.masked_copy(model, [str(key) for key in model if key not in others])
