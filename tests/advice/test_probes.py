"""Probes of layers: right scores, intervals, and the layer that carries the label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import f1_score

from benchmarks.cross_validated import two_layers
from src.advice.probes import ALL_LAYERS, Probe, all_pairs, estimate, probe, probe_layers
from src.arrays import NDArray
from src.data.labels import LabelSpace
from src.statistics.crossed import crossed

BINARY = LabelSpace("binary", ("no", "yes"))
LABELS = LabelSpace("multilabel", ("a", "b"))


def layers(seed: int = 0, texts: int = 120) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three outputs of ten directions; only that of layer 1 depends on the label."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 2, texts)
    vectors = random.normal(size=(texts, 3, 10))
    vectors[:, 1, 0] += 2.0 * targets
    return vectors, targets


def test_the_layer_that_carries_the_label_is_the_best() -> None:
    vectors, targets = layers()
    found = {each.name: each.score("accuracy") for each in probe_layers(vectors, targets, BINARY)}
    assert list(found) == ["embeddings", "layer 1", "layer 2", ALL_LAYERS]
    assert max(found, key=lambda name: found[name]) in ("layer 1", ALL_LAYERS)
    assert found["layer 1"] > found["layer 2"] + 0.1


def test_a_probe_predicts_each_text_by_all_others() -> None:
    vectors, targets = layers(texts=30)
    found = probe("layer 1", 1, vectors[:, 1], targets, BINARY)
    best, right = -1.0, None
    for power in np.logspace(-3, 3, 13):
        penalty = power * np.linalg.svd(vectors[:, 1] - vectors[:, 1].mean(0))[1].__pow__(2).mean()
        predicted = np.array([_without(i, vectors[:, 1], targets, penalty) for i in range(30)])
        error = -float(((predicted - targets) ** 2).sum())
        predicted += (targets - targets.mean()) / 29  # with the intercept of all texts
        best, right = (error, (predicted > 0.5) == targets) if right is None or error > best else (best, right)
    assert found.contributions["accuracy"] == pytest.approx(np.asarray(right, dtype=float))
    assert found.contributions.keys() == {"accuracy"}  # 30 texts are too few for intervals of macro F1


def test_vectors_that_say_nothing_do_not_correlate_with_numbers() -> None:
    random, space = np.random.default_rng(0), LabelSpace("regression", ("y",), mean=(0.0,), std=(1.0,))
    held = []
    for _ in range(40):
        vectors = random.normal(size=(200, 20)) * ([10.0] + [1.0] * 19)  # one direction dominates, as in real ones
        found = probe("layer 1", 1, vectors, random.normal(size=(200, 1)), space).interval("pearson")
        held.append(found.low <= 0 <= found.high)
        assert found.value > -1e-9
    assert np.mean(held) >= 0.9
    same = probe("embeddings", 0, np.full((200, 20), 0.1, np.float32), random.normal(size=(200, 1)), space)
    assert same.score("pearson") == 0


def _without(i: int, vectors: NDArray[Any], targets: NDArray[Any], penalty: float) -> float:
    rest = np.arange(len(targets)) != i
    return float(Ridge(alpha=penalty).fit(vectors[rest], targets[rest]).predict(vectors[i : i + 1])[0])


def test_the_order_of_the_texts_does_not_matter() -> None:
    vectors, targets = layers()
    order = np.random.default_rng(1).permutation(len(targets))
    for one, other in zip(
        probe_layers(vectors, targets, BINARY), probe_layers(vectors[order], targets[order], BINARY), strict=True
    ):
        assert other.score("accuracy") == pytest.approx(one.score("accuracy"))
        assert other.probs == pytest.approx(one.probs[order], abs=1e-6)


def test_several_labels_have_a_target_each() -> None:
    vectors, first = layers(texts=320)
    targets = np.stack([first, np.arange(len(first)) % 7 == 0], axis=1).astype(np.float32)
    found = probe("layer 1", 1, vectors[:, 1], targets, LABELS)
    assert ((found.probs[:, 0] > 0.5) == first).mean() > 0.75
    assert found.probs[:, 1].mean() == pytest.approx(targets[:, 1].mean(), abs=0.02)
    assert found.score("f1_macro") == pytest.approx(f1_score(targets, found.probs > 0.5, average="macro"))


def test_differences_are_paired_by_text() -> None:
    right = np.tile([1.0, 1.0, 1.0, 0.0], 50)
    worse = right.copy()
    worse[:20] = 0
    probes = [Probe(name, 1, np.zeros((200, 2)), {"accuracy": part}) for name, part in (("a", right), ("b", worse))]
    found = all_pairs(probes, "accuracy").interval("a", "b")
    assert found is not None
    assert found.value == pytest.approx(15 / 200)
    assert found.high - found.low < 2 * (probes[0].interval("accuracy").high - probes[0].score("accuracy"))


@pytest.mark.rare
def test_intervals_hold_where_probes_share_their_training_texts_and_those_of_independent_texts_do_not() -> None:
    """Of 200 pairs of equally good layers at least 95% are covered, within three standard errors."""
    random = np.random.default_rng(5)
    held: list[bool] = []
    naive: list[bool] = []
    for _ in range(200):
        halves, targets = two_layers(300, 200, random)
        one, other = (probe("", 1, half, targets, BINARY).contributions["accuracy"] for half in halves)
        for found, kept in ((estimate(one - other), held), (crossed((one - other)[None]), naive)):
            kept.append(found is None or found.p() > 0.05)
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
    assert np.mean(held) >= least
    assert np.mean(naive) < least


def test_vectors_that_say_nothing_reach_chance() -> None:
    """Leaving out a text moves the mean of the labels against it; of balanced labels none would be predicted."""
    random = np.random.default_rng(7)
    targets = np.arange(300) % 3
    labels = LabelSpace("multiclass", ("a", "b", "c"))
    constant = probe("", 1, np.ones((300, 4)), targets, labels)
    assert constant.score("accuracy") == pytest.approx(1 / 3, abs=0.01)
    drawn = [probe("", 1, random.normal(size=(300, 20)), targets, labels) for _ in range(40)]
    assert np.mean([found.score("accuracy") for found in drawn]) == pytest.approx(1 / 3, abs=0.02)
    inside = [found.interval("accuracy").low <= 1 / 3 <= found.interval("accuracy").high for found in drawn]
    assert np.mean(inside) > 0.9
