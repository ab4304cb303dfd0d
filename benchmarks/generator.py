"""Experiments with a known truth: which texts models of several strategies and seeds predict correctly.

A model is right on a text if the sum of normal effects lies above the strategy's threshold: the difficulty of the text,
how difficult it is for the strategy, for this model, and how good the model's seed is. All effects together have
variance 1, so the true accuracy of a strategy is known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from src.arrays import NDArray


@dataclass(frozen=True)
class Population:
    """How much models differ, at the accuracy in the middle of the strategies.

    Args:
        accuracy: the true accuracy of each strategy.
        strategies: the fraction of texts on which models of two equally good strategies disagree.
        seeds: the fraction of texts on which two models of one strategy disagree; smaller.
        spread: the standard deviation between seeds of their accuracy over all possible texts.
    """

    accuracy: tuple[float, ...]
    strategies: float
    seeds: float
    spread: float

    def draw(self, seeds: int, texts: int, random: np.random.Generator, experiments: int = 1) -> NDArray[np.bool_]:
        """Returns which texts are predicted correctly, as experiments x strategies x seeds x texts."""
        return np.asarray(self.margins(seeds, texts, random, experiments) > 0)

    def margins(self, seeds: int, texts: int, random: np.random.Generator, experiments: int = 1) -> NDArray[np.float32]:
        """Returns by how much each text is on the right side, as experiments x strategies x seeds x texts."""
        middle = float(np.mean(self.accuracy))
        across, within = shared(middle, self.strategies), shared(middle, self.seeds)
        of_seed = (self.spread / stats.norm.pdf(stats.norm.ppf(middle))) ** 2
        groups = len(self.accuracy)
        parts = [
            (across, (experiments, 1, 1, texts)),
            (within - across, (experiments, groups, 1, texts)),
            (of_seed, (experiments, groups, seeds, 1)),
            (1 - within - of_seed, (experiments, groups, seeds, texts)),
        ]
        if min(variance for variance, _ in parts) < 0:
            raise ValueError(f"seeds must disagree less than strategies, and more than their spread says; got {self}")
        effects = [math.sqrt(v) * random.standard_normal(shape, dtype=np.float32) for v, shape in parts]
        limits = stats.norm.ppf(self.accuracy).astype(np.float32)[:, None, None]
        return np.asarray(limits - effects[0] - effects[1] - effects[2] - effects[3])


@cache
def shared(accuracy: float, disagreement: float) -> float:
    """Returns the correlation of two standard normal variables of which exactly one lies below the quantile of
    `accuracy` in that fraction of cases."""
    limit = stats.norm.ppf(accuracy)

    def excess(correlation: float) -> float:
        both = stats.multivariate_normal.cdf([limit, limit], cov=[[1, correlation], [correlation, 1]])
        return float(2 * (accuracy - both) - disagreement)

    return float(optimize.brentq(excess, 0.0, 0.9999))


def differences(right: NDArray[np.bool_], one: int = 0, other: int = 1) -> NDArray[np.float64]:
    """Returns the table of seeds by texts of each experiment, of how much better one strategy is."""
    return right[:, one].astype(np.float64) - right[:, other]


def equal(accuracy: float, count: int) -> tuple[float, ...]:
    """Returns the same accuracy for each of so many strategies."""
    return (accuracy,) * count


REALISTIC: Sequence[tuple[float, float, float]] = (  # disagreement of strategies and of seeds, spread of the seeds
    (0.05, 0.03, 0.002),
    (0.10, 0.05, 0.005),
    (0.16, 0.03, 0.003),
    (0.16, 0.11, 0.005),
    (0.20, 0.08, 0.010),
)


STRONG_SEEDS = (0.20, 0.11, 0.020)  # seeds that are good or bad as a whole, by two points
