"""The schema of result.json: what the commands that read a finished run count on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, model_validator

from src.config.schema import Objective
from src.errors import UserError

FORMAT = 1  # of result.json


class Done(pydantic.BaseModel):
    """A phase that a run began; the oldest results give no steps, and know only phases that ran."""

    first_step: int = 0
    last_step: int = 1


class BackboneFiles(pydantic.BaseModel):
    """What a run's backbone was read from: SHA-256 by the name of the file, and of what its tokenizer does, and the
    commit of one from the hub."""

    files: dict[Annotated[str, Field(pattern=r"^[\w.+-]+$")], str]
    tokenizer: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None


class Result(pydantic.BaseModel):
    """The part of a result that other commands read; there is more for people."""

    format: Literal[1]
    objective: Objective
    labels: list[str]
    typed_labels: list[str] | None = None
    label_vectors: bool = False
    metrics: dict[str, dict[str, float | None]]
    sha256: dict[str, str] = {}
    thresholds: dict[str, float] | None = None
    phases: list[Done] | None = None
    backbone: BackboneFiles | None = None  # older results have none, and neither have runs that made theirs

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        counts = {"binary": len(self.labels) == 2, "mlm": not self.labels, "multiclass": len(self.labels) >= 2}
        if not counts.get(self.objective, bool(self.labels)) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels do not suit the objective {self.objective}")
        if not {"validation", "test"} <= self.metrics.keys():
            raise ValueError("metrics must hold those of validation and test")
        if self.objective == "multilabel" and {*(self.thresholds or ())} != {*self.labels}:
            raise ValueError("thresholds must be those of the labels")
        return self


def watched(result: Mapping[str, Any], metric: str) -> float | None:
    """The value of a metric at the best epoch; None if the result does not have it.

    Args:
        result: the content of a result.json.
        metric: with its split, such as `validation/loss`.
    """
    split, _, score = metric.partition("/")
    value = result["metrics"].get(split, {}).get(score)
    if split == "train":  # which is measured in every epoch, but not once more at the end
        best = result.get("best", {}).get("epoch")
        value = next((epoch.get(metric) for epoch in result.get("history", ()) if epoch["epoch"] == best), None)
    return None if value is None else float(value)


def check_result(result: object, source: str) -> dict[str, Any]:
    """
    Args:
        result: the content of a result.json.
        source: its path.

    Raises:
        UserError: it is not one that this version can read.
    """
    if isinstance(result, dict) and result.get("format", FORMAT) != FORMAT:
        raise UserError(f"{source} has the format {result['format']}; this version reads {FORMAT}. Update Thaw.")
    try:
        Result.model_validate(result)
    except pydantic.ValidationError as error:
        problems = (f"{'.'.join(map(str, p['loc']))} {p['msg']}".strip() for p in error.errors()[:3])
        raise UserError(
            f"{source} must be the result of a finished run; it cannot be read: {'; '.join(problems)}.\n"
            "Copy the run folder again from where it was trained."
        ) from None
    assert isinstance(result, dict)
    return result
