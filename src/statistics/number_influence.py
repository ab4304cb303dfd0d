"""What each text contributes to a score of predicted numbers, as `influence` for labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from src.arrays import NDArray

PerText = Float[NDArray[np.float64], " texts"]
Numbers = Float[NDArray[np.float64], "texts targets"]


def contributions(metric: str, predicted: Numbers, targets: Numbers) -> PerText | None:
    """Returns the contribution of each text; their mean is the score: of several targets, the mean of their scores.

    None where a score does not exist, because the numbers of a target are all the same, or is not known.

    Args:
        metric: the name of a test score.
        predicted: numbers.
        targets: the true ones.
    """
    score = SCORES.get(metric)
    if score is None:
        return None
    columns = [score(said, true) for said, true in zip(predicted.T, targets.T, strict=True)]
    found = [column for column in columns if column is not None]
    return np.asarray(np.mean(found, axis=0)) if len(found) == len(columns) else None


def _correlation(said: PerText, true: PerText) -> PerText | None:
    """Pearson's; 0 where all predictions are the same."""
    if np.ptp(true) == 0:
        return None
    if np.ptp(said) == 0:
        return np.zeros(len(true))
    first, second = _standard(said), _standard(true)
    score = (first * second).mean()
    return np.asarray(score + first * second - score * (first**2 + second**2) / 2)


def _rank_correlation(said: PerText, true: PerText) -> PerText | None:
    """Spearman's: Pearson's of the ranks, which depend on the other texts too."""
    ranks = [np.asarray(rankdata(side), dtype=np.float64) for side in (said, true)]
    found = _correlation(*ranks)
    if found is None or np.ptp(said) == 0:
        return found
    first, second = (_standard(side) for side in ranks)
    score = (first * second).mean()
    return found + _through_ranks(said, second - score * first) + _through_ranks(true, first - score * second)


def _through_ranks(values: PerText, slopes: PerText) -> PerText:
    """What a text adds by raising the ranks of all texts with greater values, and half of those with equal ones.

    Args:
        values: that are ranked.
        slopes: of the score in each standardised rank.
    """
    _, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place, slopes)
    above = sums.sum() - np.cumsum(sums)
    spread = np.asarray(rankdata(values)).std()
    return np.asarray((above + sums / 2)[place] / spread)


def _determination(said: PerText, true: PerText) -> PerText | None:
    """R², the coefficient of determination."""
    spread = true.var()
    if spread == 0:
        return None
    errors, squares = (said - true) ** 2, (true - true.mean()) ** 2
    return np.asarray(1 - errors / spread + errors.mean() * (squares - spread) / spread**2)


def _root(said: PerText, true: PerText) -> PerText:
    squares = (said - true) ** 2
    score = float(np.sqrt(squares.mean()))
    return np.asarray((score + squares / score) / 2) if score else np.zeros(len(true))


def _standard(values: PerText) -> PerText:
    return np.asarray((values - values.mean()) / values.std())


SCORES: Mapping[str, Callable[[PerText, PerText], PerText | None]] = {
    "pearson": _correlation,
    "spearman": _rank_correlation,
    "r2": _determination,
    "mae": lambda said, true: np.abs(said - true),
    "rmse": _root,
}
