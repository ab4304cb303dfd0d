"""Compares groups of runs: scores with intervals, costs, differences to a baseline, verdicts, and the summary
sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.comparison import statistics
from src.comparison.comparable import changed_backbones, differing_settings
from src.comparison.groups import STRATEGY, Group
from src.comparison.summary import summarise
from src.config.monitor import LESS_IS_BETTER
from src.errors import UserError, nearest
from src.runs.folder import RunFolder
from src.statistics.intervals import Interval, mean_interval, paired_interval, ratio_interval, wilson
from src.statistics.significance import holm, mcnemar_p, sign_flip_p, win_rate_interval, wins

METRICS = ("accuracy", "f1_macro")  # shown where runs have them; the first is the default metric


@dataclass(frozen=True)
class Row:
    """One group of a comparison; the fields are the keys of comparison.json. Costs are means over the runs, in seconds
    and bytes."""

    name: str
    label: Mapping[str, str]
    seeds: list[int]
    missing: list[int]  # seeds with a result in other groups, but not in this one
    scores: dict[str, float]  # mean test scores
    intervals: dict[
        str, Interval | None
    ]  # of these means over seeds; for a single run, of its accuracy over test texts
    trainable: int  # mean number of parameters that trained in the phases that were reached
    share: float  # trainable as a fraction of all parameters
    epoch_seconds: float
    seconds: float
    memory: float
    checkpoint: float
    operations: float | None  # FLOPs of training and encoding
    pairs: int  # number of seeds shared with the baseline
    difference: float | None  # mean difference over these seeds
    difference_interval: Interval | None
    rows_interval: Interval | None  # bootstrap interval over seeds and test texts
    p: float | None  # of the sign-flip test, Holm-corrected
    better: float | None  # win rate against the baseline with the same seed; ties count half
    better_interval: Interval | None
    texts_p: dict[int, float]  # of McNemar's test on the test texts, by seed
    time_ratio: float | None  # total time relative to the baseline's, ratio of geometric means
    time_interval: Interval | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All groups, the best first, and the answer in words."""

    metric: str
    baseline: str
    margin: float
    rows: list[Row]
    problems: list[dict[str, str]]  # runs without a result
    sentence: str


def compare(groups: Sequence[Group], metric: str, baseline: str | None, margin: float) -> Comparison:
    """Compares groups with a baseline.

    Args:
        groups: at least one with a result.
        metric: the test score to compare; higher is better.
        baseline: the name of a strategy or group; None: `none` if it exists, else the first group.
        margin: how much lower is still as good.

    Raises:
        UserError: no run has finished, or the metric or baseline does not exist.
    """
    problems = [
        {"run": str(r.folder.path), "log": _log(r.folder), "group": g.name, "seed": str(r.seed), "problem": r.problem}
        for g in groups
        for r in g.runs
        if r.result is None
    ]
    finished = [g for g in groups if g.finished]
    if not finished:
        raise UserError(
            "None of these runs has finished:\n" + "\n".join(f"{p['log']}: {p['problem']}" for p in problems)
        )
    _check_metric(metric, [r.result["metrics"]["test"] for g in finished for r in g.finished.values() if r.result])
    base = _baseline(finished, baseline)
    others = [g for g in finished if g is not base]
    raw = {g.name: _p(g, base, metric) for g in others}
    tested = [name for name, p in raw.items() if p is not None]
    adjusted = dict(zip(tested, holm([raw[name] or 0.0 for name in tested]), strict=True))
    all_seeds = sorted({seed for g in finished for seed in g.finished})
    rows = [_row(g, base, metric, margin, adjusted.get(g.name), all_seeds, len(others)) for g in finished]
    rows.sort(key=lambda row: (-row.scores[metric], row.name != base.name, row.name))
    sentence = summarise(rows, base.name, metric, margin, _common_folder(finished))
    if max(tried := {g.tried for g in groups}) > 1:
        counts = ", ".join(f"{g.name} {g.tried}" for g in groups)
        unequal = "" if len(tried) == 1 else " Unequal numbers of trials favour groups with more of them."
        sentence += f" Each group is its trial with the best validation score (number of trials: {counts}).{unequal}"
    if different := differing_settings([run for group in groups for run in group.runs]):
        sentence += f" These runs differ in {', '.join(different)}, so their test scores may not be comparable."
    if changed := changed_backbones([run for group in groups for run in group.runs]):
        sentence += (
            f" The files of {', '.join(changed)} changed between these runs, so their pretrained weights may differ."
        )
    if problems:
        sentence += f" {len(problems)} of {sum(len(g.runs) for g in groups)} runs have no result."
    return Comparison(metric, base.name, margin, rows, problems, sentence)


def _common_folder(groups: Sequence[Group]) -> str:
    """Returns the common folder of the runs."""
    return os.path.commonpath([run.folder.path.parent for group in groups for run in group.runs])


def _log(folder: RunFolder) -> str:
    return str(folder.log if folder.log.exists() else folder.path)


def _check_metric(metric: str, scores: Sequence[Mapping[str, float | None]]) -> None:
    known = {name for name in scores[0] if all(found.get(name) is not None for found in scores)} - LESS_IS_BETTER
    if metric not in known:
        raise UserError(
            f"metric must be a test score that all runs have and that is better when higher; got {metric}.\n"
            f"{nearest(metric, known)}"
        )


def _baseline(groups: Sequence[Group], wanted: str | None) -> Group:
    if wanted is None:
        return next((g for g in groups if g.label[STRATEGY] == "none"), groups[0])
    name = wanted.removeprefix("freeze=")
    found = [g for g in groups if name in (g.name, *g.label.values())]
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"baseline must name one group; {name} names {len(found)}.\n"
        f"Choose one of: {', '.join(g.name for g in found or groups)}."
    )


def _paired(group: Group, base: Group, *keys: str) -> tuple[Any, Any]:
    mine, theirs = group.values(*keys), base.values(*keys)
    shared = sorted(mine.keys() & theirs.keys())
    return np.array([mine[s] for s in shared]), np.array([theirs[s] for s in shared])


def _p(group: Group, base: Group, metric: str) -> float | None:
    one, other = _paired(group, base, "metrics", "test", metric)
    return sign_flip_p(one - other) if len(one) >= 2 else None


def _row(
    group: Group, base: Group, metric: str, margin: float, p: float | None, all_seeds: Sequence[int], comparisons: int
) -> Row:
    results = [run.result for run in group.finished.values() if run.result]
    scores = {
        name: float(np.mean([r["metrics"]["test"][name] for r in results]))
        for name in dict.fromkeys((metric, *METRICS))
        if all(r["metrics"]["test"].get(name) is not None for r in results)
    }
    one, other = _paired(group, base, "metrics", "test", metric)
    is_base = group is base
    interval = None if is_base else paired_interval(one, other)
    hits = {} if is_base else _hits(group, base)
    won = wins(one, other)
    mine, theirs = _paired(group, base, "seconds", "total")
    # With phases that end on a plateau, seeds may reach different phases.
    trainable, total = (float(np.mean([r["parameters"][key] for r in results])) for key in ("trainable", "total"))
    return Row(
        name=group.name,
        label=group.label,
        seeds=sorted(group.finished),
        missing=[seed for seed in all_seeds if seed not in group.finished],
        scores=scores,
        intervals={name: _interval(group, results, name) for name in scores},
        trainable=round(trainable),
        share=trainable / total,
        epoch_seconds=float(np.mean([r["seconds"]["fit"] / max(1, len(r["history"])) for r in results])),
        seconds=float(np.mean([r["seconds"]["total"] for r in results])),
        memory=float(np.mean([r["peak_memory_bytes"] for r in results])),
        checkpoint=float(np.mean([_size(run.folder.best_checkpoint) for run in group.finished.values()])),
        operations=_mean([r.get("operations") for r in results]),
        pairs=len(one),
        difference=None if is_base or not len(one) else float((one - other).mean()),
        difference_interval=interval,
        rows_interval=_bootstrap_interval(hits),
        p=p,
        better=None if is_base or not len(one) else float(won.mean()),
        better_interval=None if is_base else win_rate_interval(won),
        texts_p={seed: mcnemar_p(*pair) for seed, pair in hits.items()},
        time_ratio=None if is_base or not len(one) else float(np.exp(np.mean(np.log(mine / theirs)))),
        time_interval=None if is_base else ratio_interval(mine, theirs),
        verdict="baseline" if is_base else _verdict(interval, margin, p, len(one), comparisons),
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _interval(group: Group, results: Sequence[Mapping[str, Any]], name: str) -> Interval | None:
    if len(results) == 1 and name == "accuracy":
        (run,) = group.finished.values()
        hits = run.hits()
        return None if hits is None else wilson(int(hits.sum()), len(hits))
    found = mean_interval(np.array([r["metrics"]["test"][name] for r in results]))
    lowest = -1 if name == "mcc" else 0
    return found and Interval(found.value, max(found.low, lowest), min(found.high, 1))


def _hits(group: Group, base: Group) -> dict[int, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Returns which test texts each run of a pair predicts correctly, by seed; empty unless all runs have equally
    many."""
    shared = sorted(group.finished.keys() & base.finished.keys())
    found = {seed: (group.finished[seed].hits(), base.finished[seed].hits()) for seed in shared}
    complete = {seed: (a, b) for seed, (a, b) in found.items() if a is not None and b is not None}
    same = len({len(hits) for pair in complete.values() for hits in pair}) == 1
    return complete if same and len(complete) == len(found) else {}


def _bootstrap_interval(hits: Mapping[int, tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> Interval | None:
    if not hits:
        return None
    one, other = zip(*hits.values(), strict=True)
    return statistics.bootstrap_difference(np.array(one), np.array(other))


def _verdict(interval: Interval | None, margin: float, p: float | None, pairs: int, comparisons: int) -> str:
    needed = statistics.seeds_needed(comparisons)
    if pairs < statistics.MIN_SEEDS:
        return f"descriptive only: {pairs} of {needed} seeds"
    return statistics.verdict(interval, margin, p)
