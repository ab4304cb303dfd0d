"""How a trained classifier's logits become probabilities, and these labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from src.config.sections import Section

Calibration = Literal["temperature"]
Rule = Literal["f1", "youden", "cost"]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _threshold(value: Any) -> Any:
    if value in get_args(Rule) or (isinstance(value, float) and 0 < value < 1):
        return value
    raise ValueError(f"must be f1, youden, cost, or a probability above 0 and below 1 such as 0.3; got {value}")


Threshold = Annotated[float | Rule, BeforeValidator(_threshold)]


class Costs(Section):
    """What the two mistakes of a decision cost, in any unit; for `threshold=cost`."""

    false_positive: Price | None = None
    false_negative: Price | None = None

    @property
    def missing(self) -> list[str]:
        """The keys without a value."""
        return [f"costs.{name}" for name, value in self if value is None]

    @property
    def both(self) -> tuple[float, float]:
        """Of a false positive and of a false negative."""
        assert self.false_positive is not None
        assert self.false_negative is not None
        return self.false_positive, self.false_negative
