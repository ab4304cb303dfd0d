"""Temperatures that are known, and texts that do not say one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from src.statistics.temperature import least_loss, negative_log_likelihood, why_none


def sampled(temperature: float, texts: int, choices: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are the temperature times too large, and labels drawn from the right probabilities."""
    random = np.random.default_rng(seed)
    right = random.normal(size=(texts, choices)) * 2
    drawn = (softmax(right, axis=1).cumsum(1) > random.random((texts, 1))).argmax(1)
    return right * temperature, drawn


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("choices", [2, 7])
def test_a_known_temperature_is_found_again(temperature: float, choices: int) -> None:
    found = [least_loss(*sampled(temperature, 3_000, choices, seed)) for seed in range(8)]
    assert np.mean(found) == pytest.approx(temperature, rel=0.05)
    assert np.std(found) < 0.1 * temperature
    logits, right = sampled(temperature, 3_000, choices, 0)
    for other in (0.98, 1.02):
        assert negative_log_likelihood(logits / found[0], right) < negative_log_likelihood(
            logits / (found[0] * other), right
        )


def test_the_likelihood_is_that_of_the_softmax() -> None:
    logits, right = sampled(1.0, 50, 3, 0)
    assert negative_log_likelihood(logits, right) == pytest.approx(
        -np.log(softmax(logits, axis=1)[np.arange(50), right]).mean()
    )


CERTAIN = np.array([[3.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
UNTOLD = {
    "one label": (CERTAIN, np.array([0, 0, 0]), "the same label"),
    "no mistake": (CERTAIN, np.array([0, 1, 0]), "hardly any is predicted wrongly"),
    "all wrong": (CERTAIN, np.array([1, 0, 1]), "hardly better than chance"),
    "nothing told": (np.full((4, 3), 0.1), np.array([0, 1, 2, 0]), "hardly better than chance"),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_texts_that_do_not_say_a_temperature(case: str) -> None:
    logits, right, why = UNTOLD[case]
    assert why in str(why_none(logits, right))


def test_what_is_found_has_the_least_loss_of_all_temperatures() -> None:
    random, found = np.random.default_rng(0), 0
    temperatures = np.exp(np.linspace(-5, 5, 101))
    for _ in range(30):
        logits, right = random.normal(size=(6, 3)), random.integers(0, 3, 6)
        losses = [negative_log_likelihood(logits / temperature, right) for temperature in temperatures]
        least = int(np.argmin(losses))
        if why_none(logits, right) is None:
            found += 1
            assert 0 < least < 100
            best = least_loss(logits, right)
            assert temperatures[least - 1] < best < temperatures[least + 1]
            assert negative_log_likelihood(logits / best, right) <= losses[least] + 1e-9
        elif right.min() < right.max():
            assert least in (0, 1, 99, 100)
    assert 3 < found < 27
