"""The schema of result.json: what other commands read of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, model_validator

from src.config.schema import Objective
from src.errors import UserError

FORMAT = 1  # of result.json


class PhaseResult(pydantic.BaseModel):
    """A phase of a run; the oldest results have no steps, and only phases that ran."""

    first_step: int = 0
    last_step: int = 1


class BackboneFiles(pydantic.BaseModel):
    """The source of a run's backbone: the SHA-256 of each file by name, a digest of its tokenizer, and the commit of a
    backbone from the hub."""

    files: dict[Annotated[str, Field(pattern=r"^[\w.+-]+$")], str]
    tokenizer: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None


class FoldResult(pydantic.BaseModel):
    """Which part of a cross-validation a run is: the test split is fold number `fold` of `folds`, from 0."""

    folds: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)]
    repeat: Annotated[int, Field(ge=0)]


class Calibration(pydantic.BaseModel):
    """What a run's logits are divided by."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Result(pydantic.BaseModel):
    """The part of result.json that other commands read; it has more for human readers."""

    format: Literal[1]
    objective: Objective
    labels: list[str]
    typed_labels: list[str] | None = None
    label_vectors: bool = False
    target_mean: list[float] = []
    target_std: list[Annotated[float, Field(gt=0)]] = []
    metrics: dict[str, dict[str, float | None]]
    sha256: dict[str, str] = {}
    calibration: Calibration | None = None
    thresholds: dict[str, float] | None = None
    phases: list[PhaseResult] | None = None
    fold: FoldResult | None = None
    backbone: BackboneFiles | None = None  # None in older results and in runs from scratch

    @model_validator(mode="after")
    def is_consistent(self) -> Self:
        counts = {"binary": len(self.labels) == 2, "mlm": not self.labels, "multiclass": len(self.labels) >= 2}
        if not counts.get(self.objective, bool(self.labels)) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels do not fit the objective {self.objective}")
        numbers = len(self.labels) if self.objective == "regression" else 0
        if {len(self.target_mean), len(self.target_std)} != {numbers}:
            raise ValueError("target_mean and target_std must have one value per target of a regression")
        if not {"validation", "test"} <= self.metrics.keys():
            raise ValueError("metrics must have validation and test")
        if self.objective == "multilabel" and {*(self.thresholds or ())} != {*self.labels}:
            raise ValueError("thresholds must have one value per label")
        if self.objective == "binary" and self.thresholds is not None and {*self.thresholds} != {self.labels[1]}:
            raise ValueError("thresholds must have one value, that of the second label")
        return self


def monitored_value(result: Mapping[str, Any], metric: str) -> float | None:
    """Returns the value of a metric at the best epoch; None if the result does not have it.

    Args:
        result: the content of a result.json.
        metric: with its split, such as `validation/loss`.
    """
    split, _, score = metric.partition("/")
    value = result["metrics"].get(split, {}).get(score)
    if split == "train":  # measured in every epoch, but not again at the end
        best = result.get("best", {}).get("epoch")
        value = next((epoch.get(metric) for epoch in result.get("history", ()) if epoch["epoch"] == best), None)
    return None if value is None else float(value)


def peak_memory(result: Mapping[str, Any]) -> int:
    """Returns the bytes at the peak: of the GPU where the run had one, since that is what is scarce there, or of the
    process.

    Args:
        result: the content of a result.json.
    """
    found: int = result.get("peak_gpu_memory_bytes") or result["peak_memory_bytes"]
    return found


def check_result(result: object, source: str) -> dict[str, Any]:
    """Validates the content of a result.json and returns it.

    Args:
        result: the content.
        source: its path.

    Raises:
        UserError: this version cannot read it.
    """
    if isinstance(result, dict) and result.get("format", FORMAT) != FORMAT:
        raise UserError(f"{source} has format {result['format']}; this version reads format {FORMAT}. Update Thaw.")
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
