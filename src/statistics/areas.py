"""Contributions of texts to the areas under the ROC curve and under the precision-recall curve."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from src.arrays import NDArray

Scores = Float[NDArray[np.floating], " texts"]


PerText = Float[NDArray[np.float64], " texts"]


def roc_area(scores: Scores, targets: PerText) -> PerText:
    """Returns the contribution of each text to the area under the ROC curve (DeLong et al. 1988).

    The component of a text is the fraction of the texts of the other kind that it is ordered correctly with; equal
    scores count half.

    Args:
        scores: higher means rather 1.
        targets: 0 and 1, both of them present.
    """
    positive = targets == 1
    share = positive.mean()
    ranks = rankdata(scores)
    component = np.empty(len(scores))
    component[positive] = (ranks[positive] - rankdata(scores[positive])) / (~positive).sum()
    component[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / positive.sum()
    area = component[positive].mean()
    return np.asarray(area + (component - area) / np.where(positive, share, 1 - share))


def average_precision(scores: Scores, targets: PerText) -> PerText:
    """Returns the contribution of each text to the average precision: the mean, over the positive texts, of the
    precision among all texts with at least their score.

    With G the precision and b the fraction of texts at a score, q the fraction of positive texts and E the mean over
    all texts j with at most the text's score x, the derivative in the weight of a text with target t is
    [t (G(x) - AP) + t E(t_j / b_j) - E(t_j G_j / b_j)] / q.

    Args:
        scores: higher means rather 1.
        targets: 0 and 1, both of them present.
    """
    count, share = len(scores), targets.mean()
    _, where = np.unique(scores, return_inverse=True)
    of_value, hits = np.bincount(where), np.bincount(where, targets)
    above = np.cumsum(of_value[::-1])[::-1] / count
    precision = np.cumsum(hits[::-1])[::-1] / count / above
    area = (hits @ precision) / count / share
    gained, lost = np.cumsum(hits / above)[where] / count, np.cumsum(hits * precision / above)[where] / count
    return np.asarray(area + (targets * (precision[where] - area + gained) - lost) / share)
