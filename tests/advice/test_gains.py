"""What advice could know before training: the scores of layers, and predictions for data sets from other ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from benchmarks import gains
from benchmarks.gains import Case
from benchmarks.layers import likeness, logme, transfer_scores

rng = np.random.default_rng(0)


def case(name: str, gain: float, feature: float, seeds: int = 2) -> Case:
    scores = {"all": np.full(seeds, 0.5), "none": np.full(seeds, 0.5 + gain)}
    return Case(name, 300, scores, {"x": feature, "slope": 0.0})


def test_logme_is_the_highest_evidence_of_a_linear_model() -> None:
    features = rng.normal(size=(30, 4))
    target = features @ [1, 0, 0, -1] + rng.normal(size=30)
    features, target = features - features.mean(0), target - target.mean()

    def evidence(weights: float, noise: float) -> float:
        covariance = np.eye(30) / noise + features @ features.T / weights
        return float(multivariate_normal(np.zeros(30), covariance).logpdf(target)) / 30

    grid = np.logspace(-2, 2, 41)
    assert logme(features, target[:, None]) == pytest.approx(max(evidence(a, b) for a in grid for b in grid), abs=0.01)


def test_scores_are_higher_where_features_tell_the_labels() -> None:
    labels = np.eye(2)[np.arange(200) % 2]
    noise = rng.normal(size=(200, 5))
    telling = noise + 2 * labels @ rng.normal(size=(2, 5))
    told, untold = transfer_scores(telling, labels, noise), transfer_scores(noise, labels, noise)
    assert all(told[name] > untold[name] for name in ("logme", "h_score", "scatter"))
    assert untold["cka"] == pytest.approx(1)
    assert likeness(noise, 3 * noise[:, ::-1]) == pytest.approx(1)


def test_a_data_set_is_predicted_from_the_others_alone() -> None:
    cases = [case("a", 0.1, 1.0), case("b", 0.3, 3.0), case("c", 0.2, 2.0)]
    outlier = case("d", 9.0, 2.0)
    assert gains.predicted([*cases, outlier], outlier, "none", ()) == pytest.approx(0.2)
    assert gains.predicted([*cases, outlier], outlier, "none", ("x",)) == pytest.approx(0.2)
    low, high = gains.interval([*cases, outlier], outlier, "none", ())
    assert (low, high) == pytest.approx((0.2 - 0.15, 0.2 + 0.15))  # a and b are 0.15 from the mean of the other two


def test_the_best_strategy_is_chosen_by_other_seeds_than_those_that_score_it() -> None:
    scores = {"all": np.array([0.9, 0.5]), "none": np.array([0.6, 0.8])}
    assert gains.regret(Case("a", 300, scores, {}), "all") == pytest.approx((-0.3 + 0.0) / 2)


def test_only_data_sets_with_all_strategies_count(tmp_path: Path) -> None:
    rows = [("a", "all", 0.5), ("a", "none", 0.6), ("b", "all", 0.5)]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "texts", "head", "strategy", "seed", "accuracy", "f1_macro"])
        writer.writerows([name, 300, "linear", strategy, 1, score, 0.0] for name, strategy, score in rows)
    with (tmp_path / "layers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "texts", "layer", "accuracy", "logme", "h_score", "scatter", "cka"])
        for name in "ab":
            writer.writerows([name, 300, layer, 0.5, 0, 0, 0, 0] for layer in [*range(7), "all"])
    (found,) = gains.read_cases(tmp_path / "table.csv", tmp_path / "layers.csv", "linear")
    assert found.data == "a"
    assert found.gain("none") == pytest.approx(0.1)
