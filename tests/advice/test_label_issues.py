"""Labels that look wrong, by confident learning."""

from __future__ import annotations

import numpy as np
import pytest

from src.advice.label_issues import label_issues
from src.advice.probes import probe
from src.data.labels import LabelSpace


def test_texts_off_the_diagonal_of_the_confident_joint_come_with_the_least_probable_label_first() -> None:
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55], [0.95, 0.05]])
    targets = np.array([0, 0, 0, 1, 1, 1])
    # The mean probability of label 0 where it is given is 0.667, that of label 1 is 0.467.
    found = label_issues(probs, targets)
    assert [(issue.text, issue.given, issue.suggested) for issue in found] == [(5, 1, 0), (2, 0, 1)]
    assert [issue.probability for issue in found] == pytest.approx([0.05, 0.3])


def test_with_several_labels_each_is_a_task_of_its_own() -> None:
    probs = np.array([[0.9, 0.1], [0.9, 0.2], [0.1, 0.9], [0.2, 0.9], [0.95, 0.1]])
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0]], dtype=np.float32)
    found = label_issues(probs, targets)
    assert {(issue.text, issue.given, issue.suggested) for issue in found} == {(4, 0, None), (3, 1, None)}


def test_flipped_labels_are_found_where_the_vectors_tell_the_labels() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 600)
    vectors = np.eye(3)[truth] @ random.normal(size=(3, 20)) * 2 + random.normal(size=(600, 20))
    flipped = random.choice(600, 30, replace=False)
    given = truth.copy()
    given[flipped] = (given[flipped] + 1) % 3
    found = label_issues(probe("x", 1, vectors, given, LabelSpace("multiclass", ("a", "b", "c"))).probs, given)
    first = {issue.text for issue in found[:30]}
    assert len(first & {*flipped.tolist()}) >= 24
