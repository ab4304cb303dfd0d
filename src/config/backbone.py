"""The backbone section of a config."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from src.config.sections import LearningRate, Positive, Probability, Section

MIN_VOCABULARY = 100  # tokens


Attention = Literal["auto", "sdpa", "eager"]


class Pretrained(Section):
    """A backbone from a package, a folder or the hub."""

    name: str | None = None
    package: str | None = None
    sha256: str | None = None
    revision: str | None = None
    attention: Attention = "auto"
    dropout: Probability | None = None
    lr: LearningRate = 5e-5

    @property
    def title(self) -> str:
        return self.name or self.package or ""

    @model_validator(mode="after")
    def has_a_source(self) -> Self:
        if not self.name and not self.package:
            raise ValueError("needs a name: a hub id (org/name) or a local folder")
        return self


class FromRun(Section):
    """The backbone of a finished masked-language-modelling run."""

    run: Annotated[str, Field(min_length=1)]
    attention: Attention
    dropout: Probability | None = None
    lr: LearningRate

    @property
    def title(self) -> str:
        return self.run


class Scratch(Section):
    """A BERT with random weights, and a tokenizer trained on the training texts."""

    layers: Positive
    hidden_size: Positive
    heads: Positive
    intermediate_size: Positive
    max_length: Annotated[int, Field(ge=3)]
    dropout: Probability
    tokenizer: str | None
    vocabulary: Annotated[int, Field(ge=MIN_VOCABULARY)] | None
    lowercase: bool
    min_frequency: Positive
    attention: Attention
    lr: LearningRate

    @property
    def title(self) -> str:
        return "scratch"

    @model_validator(mode="after")
    def divides(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size must be a multiple of heads; got {self.hidden_size} and {self.heads}")
        return self


Backbone = Pretrained | FromRun | Scratch


BACKBONES: dict[str, Any] = {"src.pretrained": Pretrained, "src.run": FromRun, "src.scratch": Scratch}
