"""An estimated difference with its standard error, from which intervals and p values follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scipy import stats

from src.statistics.intervals import LEVEL, Interval


@dataclass(frozen=True)
class Components:
    """What a table of seeds by units of differences varies by.

    Args:
        seeds: the number of seeds.
        units: the number of texts, or of groups of texts that are drawn together.
        seed: the variance between seeds, of their means over all possible units; 0 for one seed, where it is unknown.
        unit: the variance between units, of their means over all possible seeds; for one seed, with `residual` in it.
        residual: the rest: seeds differ more on some units than on others.
        ms_seed: the mean square between seeds; 0 for one seed.
        ms_unit: the mean square between units.
        ms_residual: the residual mean square; 0 for one seed.
    """

    seeds: int
    units: int
    seed: float
    unit: float
    residual: float
    ms_seed: float
    ms_unit: float
    ms_residual: float


@dataclass(frozen=True)
class Estimate:
    """An estimate whose distance to the true value, divided by its standard error, is about t-distributed.

    Args:
        mean: the estimate.
        error: its standard error, above 0.
        freedom: the degrees of freedom.
        components: what it varies by, where that was estimated.
        of_models: true if it says something only of the trained models it comes from, since there is one seed.
    """

    mean: float
    error: float
    freedom: float
    components: Components | None = None
    of_models: bool = False

    @property
    def reversed(self) -> Estimate:
        """The estimate of the opposite difference."""
        return replace(self, mean=-self.mean)

    def half_width(self, level: float = LEVEL, comparisons: int = 1, sides: int = 2) -> float:
        """Returns the distance from the estimate to a bound of its interval; arguments as for `interval`."""
        return self.error * float(stats.t.isf((1 - level) / comparisons / sides, self.freedom))

    def interval(self, level: float = LEVEL, comparisons: int = 1, sides: int = 2) -> Interval:
        """Returns the t interval.

        Args:
            level: with which all of the comparisons hold together.
            comparisons: for how many the level must hold (Bonferroni).
            sides: 2: both bounds hold together; 1: only one of the bounds will be used.
        """
        half = self.half_width(level, comparisons, sides)
        return Interval(self.mean, self.mean - half, self.mean + half)

    def p(self, null: float = 0.0, sides: int = 2) -> float:
        """Returns the p of the hypothesis that the true value is `null`, or with one side: at most `null`."""
        t = (self.mean - null) / self.error
        return float(stats.t.sf(t, self.freedom) if sides == 1 else 2 * stats.t.sf(abs(t), self.freedom))
