"""Scores by the number of training texts: where strategies cross, and what more texts should bring."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.comparison.evidence import Evidence, gather
from src.comparison.rows import advice, clipped
from src.config.monitor import sign
from src.grouping.groups import Group, group
from src.grouping.runs import Run
from src.statistics.estimate import Estimate
from src.statistics.intervals import Interval, mean_interval
from src.statistics.power_law import power_law

SIZE = "data.train_size"


@dataclass(frozen=True)
class Point:
    """The mean score of the runs with one number of training texts.

    Args:
        texts: the number.
        score: the mean.
        interval: of the mean, for other seeds; None for one run.
        undertrained: whether most of these runs were not trained to the end.
    """

    texts: int
    score: float
    interval: Interval | None
    undertrained: bool


@dataclass(frozen=True)
class Curve:
    """The learning curve of a strategy; the fields are keys of comparison.json.

    Args:
        name: of the group.
        points: in the order of their texts.
        doubled: the score to expect with twice the largest number of texts; None if it cannot be said.
        reason: why it cannot be said.
    """

    name: str
    points: list[Point]
    doubled: Interval | None
    reason: str

    @property
    def largest(self) -> int:
        return self.points[-1].texts


@dataclass(frozen=True)
class Crossing:
    """The number of training texts below which one strategy is better, and above which another is."""

    texts: int
    below: str
    above: str


def largest_size(runs: Sequence[Run]) -> list[Run]:
    """Returns the runs with the most training texts; all of them where `data.train_size` is not varied."""
    sizes = _by_size(runs)
    return sizes[max(sizes)]


def _by_size(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Returns the runs by their number of training texts, the mean of those with the same `data.train_size`: folds
    differ by a text, and runs that have failed do not say it. It is infinite for runs on all texts."""
    by_value: dict[str, list[Run]] = {}
    for run in runs:
        by_value.setdefault(run.values.get(SIZE, "null"), []).append(run)
    found: dict[float, list[Run]] = {}
    for value, members in by_value.items():
        number = math.inf if value in ("null", "1.0") else _texts(members) or float(value)
        found.setdefault(number, []).extend(members)
    return found


def _texts(runs: Sequence[Run]) -> int:
    """Returns the mean number of training texts; 0 if no run says it."""
    counts = [run.result["texts"]["train"] for run in runs if run.result and "texts" in run.result]
    return round(float(np.mean(counts))) if counts else 0


@dataclass(frozen=True)
class LearningCurves:
    """The learning curves of some strategies, and where two of them cross; the fields are keys of comparison.json."""

    curves: list[Curve]
    crossings: list[Crossing]


def learning_curves(runs: Sequence[Run], names: Sequence[str], metric: str) -> LearningCurves | None:
    """Returns the curves of the groups that have runs with several numbers of training texts; None if no group has.

    Args:
        runs: of all sizes.
        names: of the groups with the largest size, in the order of the curves.
        metric: a score whose best value is 1, or an error.

    Raises:
        UserError: a file of predictions cannot be read.
    """
    sizes: dict[int, list[Group]] = {}
    for members in _by_size(runs).values():
        # Among runs of one size, groups are named as those of the largest size are.
        finished = [member for member in group(members) if _measured(member, metric)]
        if finished:
            sizes[_texts([run for member in finished for run in member.finished])] = finished
    if len(sizes) < 2:
        return None
    runs_of = {
        name: {size: member.finished for size in sorted(sizes) for member in sizes[size] if member.name == name}
        for name in names
    }
    curves = [_curve(name, runs_of[name], metric) for name in names if len(runs_of[name]) > 1]
    if not curves:
        return None
    return LearningCurves(curves, crossings({size: gather(sizes[size], metric) for size in sorted(sizes)}, curves))


def _measured(member: Group, metric: str) -> bool:
    """Whether a group has runs to compare, all of them with the score, which some predictions do not define."""
    scores = [run.result["metrics"]["test"].get(metric) for run in member.finished if run.result]
    return bool(member.blocks) and None not in scores


def _curve(name: str, by_size: Mapping[int, Sequence[Run]], metric: str) -> Curve:
    points = [_point(texts, by_size[texts], metric) for texts in sorted(by_size)]
    trained = {point.texts for point in points if not point.undertrained}
    pairs = [(texts, _turned(score, metric)) for texts in sorted(trained) for score in _scores(by_size[texts], metric)]
    if len(trained) < 3:
        return Curve(name, points, None, "a curve needs three numbers of texts with runs that were trained to the end")
    numbers, errors = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    found = power_law(numbers, errors).doubled()
    if isinstance(found, str):
        return Curve(name, points, None, found)
    low, high = sorted((_turned(found.low, metric), _turned(found.high, metric)))
    return Curve(name, points, clipped(Interval(_turned(found.value, metric), low, high), metric), "")


def _turned(value: float, metric: str) -> float:
    """Returns the error of a score, or the score of an error; what is an error already stays."""
    return 1 - value if sign(metric) > 0 else value


def _scores(runs: Sequence[Run], metric: str) -> list[float]:
    return [float(run.result["metrics"]["test"][metric]) for run in runs if run.result]


def _point(texts: int, runs: Sequence[Run], metric: str) -> Point:
    scores = np.array(_scores(runs, metric))
    return Point(texts, float(scores.mean()), clipped(mean_interval(scores), metric), advice(runs) is not None)


def crossings(evidence: Mapping[int, Evidence], curves: Sequence[Curve]) -> list[Crossing]:
    """Returns where two strategies cross: the first is shown to be better with fewer texts and the second with more,
    all of these claims together with 95% confidence.

    Args:
        evidence: by the number of training texts, in their order.
        curves: of the strategies.
    """
    trained = {curve.name: {point.texts for point in curve.points if not point.undertrained} for curve in curves}
    comparisons = max(1, math.comb(len(curves), 2) * len(evidence))
    found = []
    for one, other in itertools.permutations(trained, 2):
        sizes = [size for size in evidence if size in trained[one] & trained[other]]
        # The seeds that both have, since one may have seeds that the other lacks.
        gaps = {size: gap for size in sizes if (gap := evidence[size].difference(one, other))}
        shown = {size: _sign(gap, comparisons) for size, gap in gaps.items()}
        low = max((size for size in shown if shown[size] > 0), default=None)
        high = min((size for size in shown if shown[size] < 0 and low is not None and size > low), default=None)
        if low is None or high is None:
            continue
        between = [(size, gap.mean) for size, gap in gaps.items() if low <= size <= high]
        found.append(Crossing(_zero(between), one, other))
    return found


def _sign(difference: Estimate, comparisons: int) -> int:
    """Returns 1 or -1 where a difference is shown to be above or below 0."""
    interval = difference.interval(comparisons=comparisons)
    return int(interval.low > 0) - int(interval.high < 0)


def _zero(gaps: Sequence[tuple[int, float]]) -> int:
    """Returns where a gap falls below 0, interpolated between numbers of texts on a logarithmic scale."""
    (low, lead), (high, behind) = next(pair for pair in itertools.pairwise(gaps) if pair[1][1] < 0)
    share = lead / (lead - behind)
    return round(float(low ** (1 - share) * high**share))
