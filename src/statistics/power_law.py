"""Learning curves: an inverse power law of the number of training texts, and what twice as many should bring."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from src.arrays import NDArray
from src.statistics.intervals import LEVEL, Interval

EXPONENTS = np.geomspace(0.01, 5, 200)


Points = Float[NDArray[np.float64], " points"]


@dataclass(frozen=True)
class Fit:
    """The best a + b n^-c for one c, and what the residuals allow around it; n is relative to the largest number.

    Args:
        c: the exponent.
        a: the error that remains, at least 0.
        b: by how much the error at the largest number is above it, at least 0.
        squares: the weighted sum of squared residuals.
    """

    c: float
    a: float
    b: float
    squares: float


@dataclass(frozen=True)
class PowerLaw:
    """The curve a + b (n / largest)^-c through the errors of runs with different numbers of training texts.

    Args:
        numbers: of training texts, of each run.
        errors: of each run.
        best: the fit with the smallest sum of squares.
    """

    numbers: Points
    errors: Points
    best: Fit

    @property
    def largest(self) -> float:
        """The largest number of training texts."""
        return float(self.numbers.max())

    def at(self, number: int) -> float:
        """Returns the error to expect with so many training texts."""
        return self.best.a + self.best.b * math.exp(-self.best.c * math.log(number / self.largest))

    def doubled(self) -> Interval | str:
        """Returns the error to expect with twice the largest number of texts and its interval, or the reason why there
        is none.

        It is the profile interval: all values of curves whose sum of squares is at most (1 + F / df) times the smallest
        one, with F the quantile for 1 and df = runs - 3 degrees of freedom. There is none with fewer than three numbers
        or four runs, or if the interval of c holds 0, which is to say that a constant error fits as well.
        """
        freedom = len(self.errors) - 3
        if freedom < 1 or len(np.unique(self.numbers)) < 3:
            return "a curve needs at least four runs with at least three different numbers of texts"
        limit = self.best.squares * (1 + float(stats.f.isf(1 - LEVEL, 1, freedom)) / freedom)
        if _squares(self.numbers, self.errors, float(np.average(self.errors, weights=self.numbers)), 0.0, 0.0) <= limit:
            return "the error does not clearly fall with the number of texts"
        number = 2 * int(self.largest)
        exponents = [*EXPONENTS, self.best.c]  # between two of them, few runs may fit no other
        found = [x for c in exponents for x in _range(self.numbers, self.errors, c, number, limit)]
        value = self.at(number)
        return Interval(value, min([value, *found]), max([value, *found]))


def power_law(numbers: Points, errors: Points) -> PowerLaw:
    """Returns the inverse power law with the smallest sum of squares, weighted by the number of texts (Figueroa et al.
    2012).

    Args:
        numbers: of training texts, of each run.
        errors: of each run, such as 1 - accuracy.
    """
    near = int(np.argmin([_fit(numbers, errors, c).squares for c in EXPONENTS]))
    bounds = EXPONENTS[max(0, near - 1)], EXPONENTS[min(len(EXPONENTS) - 1, near + 1)]
    found = optimize.minimize_scalar(lambda c: _fit(numbers, errors, c).squares, bounds=bounds, method="bounded")
    return PowerLaw(numbers, errors, _fit(numbers, errors, float(found.x)))


def _squares(numbers: Points, errors: Points, a: float, b: float, c: float) -> float:
    return float(numbers @ (errors - a - b * (numbers / numbers.max()) ** -c) ** 2)


def _fit(numbers: Points, errors: Points, c: float) -> Fit:
    """Returns the best fit for an exponent; a and b are at least 0."""
    x = (numbers / numbers.max()) ** -c
    mean_x, mean = np.average(x, weights=numbers), np.average(errors, weights=numbers)
    b = max(0.0, float((numbers * (x - mean_x)) @ errors / (numbers @ (x - mean_x) ** 2)))
    a = float(mean - b * mean_x)
    if a < 0:
        a, b = 0.0, float((numbers * x) @ errors / (numbers @ x**2))
    return Fit(float(c), a, b, _squares(numbers, errors, a, b, c))


def _range(numbers: Points, errors: Points, c: float, number: int, limit: float) -> Iterator[float]:
    """Yields the smallest and the largest value at `number` of curves with this exponent and at most this sum of
    squares: on the ellipse of all a and b, or where a would be negative, at a = 0."""
    x, target = (numbers / numbers.max()) ** -c, float((number / numbers.max()) ** -c)
    design = np.stack([np.ones_like(x), x], 1)
    inverse = np.linalg.inv((design.T * numbers) @ design)
    centre, direction = inverse @ (design.T * numbers) @ errors, inverse @ [1, target]
    rest = limit - _squares(numbers, errors, centre[0], centre[1], c)
    at_zero = float((numbers * x) @ errors / (numbers @ x**2))
    rest_at_zero = limit - _squares(numbers, errors, 0.0, at_zero, c)
    for sign in (-1, 1):
        if rest >= 0:
            a, b = centre + sign * math.sqrt(rest / (direction @ [1, target])) * direction
            if a >= 0 and b >= 0:
                yield a + b * target
        if rest_at_zero >= 0:
            yield (at_zero + sign * math.sqrt(rest_at_zero / (numbers @ x**2))) * target
