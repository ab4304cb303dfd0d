"""The model section of a config."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from src.config.sections import Component, Fraction, Positive, Probability, Section, UnitInterval

Pooling = Literal["mean", "cls", "pooler"]


StatePooling = Literal["max", "mean", "last"]


class LinearHead(Component):
    pooling: Pooling
    dropout: Probability


class BiLSTMHead(Component):
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
