"""Cross-validation of two equally good strategies, cheap enough for thousands of experiments.

A label depends on two halves of normal features alike; one strategy sees the first half, the other the second. So they
are equally good over all possible data sets, although for one data set the training texts, the test texts or the seed
may favour one of them.
"""

from __future__ import annotations

import numpy as np

from src.arrays import NDArray

PENALTY = 1.0  # of the ridge regression


def experiment(
    texts: int, folds: int, repeats: int, features: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the differences of one experiment: as repeats x texts, each text predicted by the model that has not seen
    it; the accuracies' differences of all runs; and the accuracies of one strategy."""
    halves, positive = two_layers(texts, features, random)
    labels = np.where(positive, 1.0, -1.0)
    table, runs, scores = np.zeros((repeats, texts)), [], []
    for repeat in range(repeats):
        fold_of_text = random.permutation(texts) % folds
        for fold in range(folds):
            test = fold_of_text == fold
            one, other = (_right(half, labels, test, random) for half in halves)
            table[repeat, test] = one - other
            runs.append(table[repeat, test].mean())
            scores.append(one.mean())
    return table, np.array(runs), np.array(scores)


def two_layers(texts: int, features: int, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns normal features as 2 x texts x features, and labels of 0 and 1 that depend on both halves alike."""
    halves = random.normal(size=(2, texts, features))
    score = halves.sum((0, 2)) / np.sqrt(features) + random.normal(scale=0.5, size=texts)
    return halves, (score > 0).astype(np.int64)


def _right(
    features: NDArray[np.float64], labels: NDArray[np.float64], test: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.float64]:
    """Returns for each test text whether a ridge regression on a bootstrap sample of the others, drawn as a seed would,
    predicts its label."""
    chosen = random.choice(np.flatnonzero(~test), int((~test).sum()))
    inputs, targets = features[chosen], labels[chosen]
    weights = np.linalg.solve(inputs.T @ inputs + PENALTY * np.eye(inputs.shape[1]), inputs.T @ targets)
    return np.asarray(np.sign(features[test] @ weights) == labels[test], dtype=np.float64)
