"""Scores the frozen layers on the data sets of benchmarks.table, from one pass over the training texts of each size.

    python -m benchmarks.layers --data ../shared/data [--sizes 300 1000]

DIR holds a folder per data set. Adds a row per layer: the leave-one-out accuracy of a ridge probe, and the scores that
have been proposed to tell without training how well a model will transfer. Rows that the table has are kept.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from sklearn.covariance import ledoit_wolf

from benchmarks.table import DATA, EPOCHS, add, has, known, overrides
from src.advice.encoded import encode
from src.advice.inputs import read_advisable
from src.advice.probes import ALL_LAYERS, indicators, probe_layers
from src.advice.texts import read_texts
from src.arrays import NDArray
from src.config.folder import CONF
from src.data.texts import shown
from src.training.clock import Clock

KEYS = ("data", "texts", "layer")
FIELDS = (*KEYS, "accuracy", "logme", "h_score", "scatter", "cka", "labels", "words")
Matrix = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.layers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="holds a folder per data set")
    parser.add_argument("--sets", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--table", type=Path, default=Path("benchmarks/results/layers.csv"))
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmarks/layers"))
    chosen = parser.parse_args()
    logging.getLogger("src").setLevel(logging.ERROR)
    for size, name in itertools.product(chosen.sizes, chosen.sets):
        if has(name, size) and (name, str(size), "all") not in known(chosen.table, KEYS):
            for row in layers(name, size, chosen.data, chosen.cache):
                add(chosen.table, FIELDS, row)
                print(*row.values(), flush=True)


def layers(name: str, size: int, data: Path, cache: Path) -> list[dict[str, Any]]:
    """Returns a row for the embeddings, each layer, and all layers side by side.

    Args:
        name: of the data set.
        size: how many training texts.
        data: holds a folder per data set.
        cache: for the store.
    """
    given = overrides((name, str(size), "linear", "mix", "0"), data)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*given, f"run={cache / 'run'}", f"cache={cache}"])
    inputs, _ = read_advisable(cfg, max_texts=size)
    first = read_texts(inputs.corpus)[1]
    train, space = inputs.corpus.splits["train"], inputs.corpus.space
    vectors, targets = encode(inputs, Clock()).vectors[first].astype(np.float64), train.targets[first]
    wanted = indicators(targets, len(space.names))
    words = round(float(np.mean([len(shown(text).split()) for text in train.texts])), 1)
    about = {"labels": len(space.names), "words": words}
    rows = []
    for probe in probe_layers(vectors, targets, space):
        single = probe.name != ALL_LAYERS
        scores = transfer_scores(vectors[:, probe.layers], wanted, vectors[:, -1]) if single else {}
        layer = str(probe.layers) if single else "all"
        measured = {"accuracy": probe.score("accuracy"), **scores}
        rows.append(dict(zip(KEYS, (name, size, layer), strict=True)) | _rounded(measured) | about)
    return rows


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}


def transfer_scores(features: Matrix, wanted: Matrix, last: Matrix) -> dict[str, float]:
    """Returns scores that have been proposed to tell how well features transfer; each is better when higher.

    Args:
        features: [texts, width] of a layer.
        wanted: [texts, labels] of 0 and 1.
        last: [texts, width] of the last layer, for its likeness to this one.
    """
    within, _ = ledoit_wolf(features)  # fewer texts than directions: shrunk (Ibrahim et al. 2022)
    features, wanted = features - features.mean(0), wanted - wanted.mean(0)
    fitted = wanted @ np.linalg.pinv(wanted.T @ wanted) @ (wanted.T @ features)
    between = fitted.T @ fitted / len(fitted)
    return {
        "logme": logme(features, wanted),
        "h_score": float(np.trace(np.linalg.solve(within, between))),
        "scatter": float(np.trace(between) / (features**2).sum() * len(features)),
        "cka": likeness(features, last - last.mean(0)),
    }


def logme(features: Matrix, wanted: Matrix, steps: int = 100) -> float:
    """Returns the logarithm of the maximum evidence per text of a linear model, averaged over the labels (You et al.
    2021).

    Args:
        features: [texts, width], centred.
        wanted: [texts, labels], centred.
        steps: of the fixed-point iteration for the precisions of weights and noise.
    """
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    texts, squares, found = len(features), singular**2, []
    for target in wanted.T:
        projected = (left.T @ target) ** 2
        outside, weights, noise = float(target @ target - projected.sum()), 1.0, 1.0
        for _ in range(steps):
            precision = weights + noise * squares
            size = float((noise**2 * squares * projected / precision**2).sum())
            error = outside + float((projected * (weights / precision) ** 2).sum())
            effective = float((noise * squares / precision).sum())
            weights, noise = effective / max(size, 1e-12), (texts - effective) / max(error, 1e-12)
        precision = weights + noise * squares
        size = float((noise**2 * squares * projected / precision**2).sum())
        error = outside + float((projected * (weights / precision) ** 2).sum())
        evidence = len(squares) * np.log(weights) + texts * np.log(noise / (2 * np.pi)) - np.log(precision).sum()
        found.append((evidence - noise * error - weights * size) / (2 * texts))
    return float(np.mean(found))


def likeness(a: Matrix, b: Matrix) -> float:
    """Returns the linear centred kernel alignment of two [texts, width] (Kornblith et al. 2019)."""
    both = float(((a.T @ b) ** 2).sum())
    return both / float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))


if __name__ == "__main__":
    main()
