"""Differences of paired models whose seeds and texts are both samples: two-way random effects.

Seeds share one test set, so what that set happens to favour repeats with every seed, and an interval over seeds alone
misses it. Here D[s, i] is by how much the first model with seed s scores higher on text i; seeds and texts are both
drawn from populations (Brennan 2001, Generalizability Theory; Owen 2007, The pigeonhole bootstrap).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from src.arrays import NDArray
from src.statistics.estimate import Components, Estimate

Table = Float[NDArray[np.float64], "seeds units"]


def crossed(differences: Table) -> Estimate | None:
    """Returns the mean difference with the standard error of a new sample of seeds and units.

    With one seed it is that of new units alone, and `of_models` says so. None where nothing can be estimated: one unit,
    or no spread of the means of seeds and units.
    """
    seeds, units = differences.shape
    if units < 2:
        return None
    found, mean = components(differences), float(differences.mean())
    variance, freedom = variance_of_mean(seeds, units, found.ms_seed, found.ms_unit)
    # Below this, what remains is rounding.
    if math.sqrt(variance) <= 1e-12 * np.abs(differences).max():
        return None
    return Estimate(mean, math.sqrt(variance), freedom, found, of_models=seeds == 1)


def components(differences: Table) -> Components:
    """Returns the variance components by the analysis of variance; negative ones are 0."""
    seeds, units = differences.shape
    mean, by_seed, by_unit = differences.mean(), differences.mean(1), differences.mean(0)
    ms_unit = float(seeds * ((by_unit - mean) ** 2).sum() / (units - 1))
    if seeds == 1:
        return Components(1, units, 0.0, ms_unit, 0.0, 0.0, ms_unit, 0.0)
    ms_seed = float(units * ((by_seed - mean) ** 2).sum() / (seeds - 1))
    rest = differences - by_seed[:, None] - by_unit + mean
    residual = float((rest**2).sum() / ((seeds - 1) * (units - 1)))
    seed, unit = max(0.0, (ms_seed - residual) / units), max(0.0, (ms_unit - residual) / seeds)
    return Components(seeds, units, seed, unit, residual, ms_seed, ms_unit, residual)


def variance_of_mean(seeds: int, units: int, ms_seed: float, ms_unit: float) -> tuple[float, float]:
    """Returns the variance of the mean over seeds and at least two units, and its degrees of freedom (Satterthwaite
    1946).

    The residual counts twice in the sum of the mean squares, once too often. Subtracting it covers less than 95% with
    two or three seeds, where the mean square between seeds is often small by chance.
    """
    if seeds == 1:
        return ms_unit / units, float(units - 1)
    total, squares = ms_seed + ms_unit, ms_seed**2 / (seeds - 1) + ms_unit**2 / (units - 1)
    return total / (seeds * units), total**2 / squares if squares else math.nan


def by_unit(differences: Float[NDArray[np.float64], "seeds texts"], units: Int[NDArray[np.int64], " texts"]) -> Table:
    """Returns the table with one column per unit, for texts that are drawn together, such as near copies.

    A unit's column is the mean of its seed plus the summed deviations of the unit's texts, times units / texts (the
    ratio estimator of cluster sampling; Cochran 1977, chapter 9A). So each seed's mean stays as it is, and units may
    differ in size.

    Args:
        differences: per text.
        units: the number of the unit of each text.
    """
    _, numbers = np.unique(units, return_inverse=True)
    count, means = int(numbers.max()) + 1, differences.mean(1, keepdims=True)
    sums = np.array([np.bincount(numbers, row, count) for row in differences - means])
    found: Table = means + sums * (count / len(units))
    return found
