"""The rows of a comparison: one group each, with scores, costs and the difference to the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.arrays import NDArray
from src.comparison.decision import Decision
from src.comparison.evidence import Evidence, Kind
from src.config.monitor import IN_UNITS, sign
from src.freezing.words import trained
from src.grouping.groups import Group
from src.grouping.runs import Block, Run
from src.runs.convergence import convergence
from src.runs.results import peak_memory
from src.statistics import significance
from src.statistics.estimate import Components
from src.statistics.intervals import Interval, mean_interval, paired_interval, ratio_interval, wilson

# Shown where runs have them; the first of these is the default metric.
METRICS = ("accuracy", "f1_macro", "pearson", "r2")
LOWEST = {"mcc": -1.0, "pearson": -1.0, "spearman": -1.0, "r2": -math.inf}  # of a score; of the others it is 0
HIGHEST = dict.fromkeys(IN_UNITS, math.inf)  # of the others it is 1
UNDERTRAINED = "not trained to the end"
BASELINE = "baseline"
IDENTICAL = "identical"  # to the baseline, in every prediction


@dataclass(frozen=True)
class Row:
    """One group of a comparison; the fields are the keys of comparison.json. Costs are means over the runs, in seconds
    and bytes."""

    name: str
    label: Mapping[str, str]
    seeds: list[int]
    runs: int  # with a result
    missing: list[int]  # seeds with a result in other groups, but not in this one
    scores: dict[str, float]  # mean test scores
    validation: float | None  # the mean validation score
    intervals: dict[str, Interval | None]  # of these means, for other seeds and other test texts
    trains: str  # which stages, in words; empty where results do not say
    trainable: int  # mean number of parameters that trained in the phases that were reached
    share: float  # trainable as a fraction of all parameters
    total: int  # parameters
    epoch_seconds: float
    seconds: float  # without the encoding of texts for an activation store
    encoding_seconds: float  # of all runs together, to fill and open activation stores
    memory: float
    checkpoint: float
    operations: float | None  # FLOPs of training and encoding
    epochs: float
    steps: float
    improving: bool  # at least half of the runs were still improving in their last epoch
    undertrained: str | None  # what to try, if at least half of the runs were not trained to the end
    may_be_best: bool | None  # None: not decided, for a group that was not trained to the end or has an identical one
    loss: float | None  # by how much it may be worse than the best at most, by the texts that choose
    pairs: int  # number of seeds (in cross-validation: repeats) shared with the baseline
    evidence: Kind | None  # what the next three draw anew
    difference: float | None  # mean difference to the baseline
    difference_interval: Interval | None  # simultaneous for all groups
    p: float | None  # of the difference, corrected for the number of groups
    components: Components | None  # of the variance of the difference
    seeds_interval: Interval | None  # of the difference, for other seeds on the same test texts (t)
    seeds_p: float | None  # of the sign-flip test
    better: float | None  # win rate against the baseline with the same seed; ties count half
    better_interval: Interval | None
    texts_p: dict[str, float]  # of McNemar's test on the test texts, by seed
    time_ratio: float | None  # of `seconds` to the baseline's, ratio of geometric means
    time_interval: Interval | None
    verdict: str


@dataclass(frozen=True)
class Contrast:
    """The simultaneous interval and the corrected p of the difference to the baseline, where higher is better, with the
    verdict on it."""

    interval: Interval | None
    p: float | None
    verdict: str


def build(
    group: Group,
    base: Group,
    evidence: Mapping[str, Evidence],
    decision: Decision,
    contrast: Contrast,
    metric: str,
    seeds: Sequence[int],
) -> Row:
    """Returns the row of a group.

    Args:
        group: with at least one result.
        base: the baseline.
        evidence: of all groups, by score.
        decision: on all groups that were trained to the end.
        contrast: to the baseline.
        metric: that decides.
        seeds: of all groups.
    """
    results = [run.result for run in group.complete if run.result]
    scores, states = mean_scores(group, metric), [convergence(result) for result in results]
    own = sorted({block.seed for block in group.blocks})
    return Row(
        name=group.name,
        label=group.label,
        seeds=own,
        runs=len(results),
        missing=[seed for seed in seeds if seed not in own],
        scores=scores,
        intervals={name: interval(group, evidence.get(name), name) for name in scores},
        validation=_validation(results, metric),
        trains=trained(results[0]["phases"]) if "phases" in results[0] else "",
        **_costs(group, results),
        epochs=_mean([len(result["history"]) for result in results]),
        steps=_mean([0 if state is None else state.steps for state in states]),
        improving=_half(state is not None and state.improving for state in states),
        undertrained=advice(group.complete),
        may_be_best=group.name in decision.candidates if group.name in decision.loss else None,
        loss=decision.loss.get(group.name),
        verdict=contrast.verdict,
        **_difference(group, base, evidence[metric], contrast, metric),
    )


def mean_scores(group: Group, metric: str) -> dict[str, float]:
    """Returns the mean test scores that are shown of a group."""
    results = [run.result["metrics"]["test"] for run in group.complete if run.result]
    names = [name for name in dict.fromkeys((metric, *METRICS)) if all(r.get(name) is not None for r in results)]
    return {name: _mean([result[name] for result in results]) for name in names}


def _validation(results: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    """Returns the mean validation score; None where a run lacks it."""
    found = [(result["metrics"].get("validation") or {}).get(metric) for result in results]
    known = [float(score) for score in found if score is not None]
    return _mean(known) if len(known) == len(found) else None


def majority(groups: Sequence[Group]) -> float | None:
    """Returns the mean test accuracy of always predicting the most frequent label; None where results do not say."""
    found = [(run.result.get("majority") or {}).get("accuracy") for g in groups for run in g.finished if run.result]
    known = [float(accuracy) for accuracy in found if accuracy is not None]
    return _mean(known) if known and len(known) == len(found) else None


def advice(runs: Sequence[Run]) -> str | None:
    """Returns what to try if at least half of these runs were not trained to the end."""
    states = [convergence(run.result) for run in runs if run.result]
    if not _half(state is not None and state.undertrained for state in states):
        return None
    return max((state for state in states if state), key=lambda state: state.epochs).advice


def _half(values: Iterable[bool]) -> bool:
    """Returns whether at least half of the values are true."""
    known = list(values)
    return 2 * sum(known) >= len(known) > 0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _costs(group: Group, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # With phases that end on a plateau, seeds may reach different phases.
    trainable, total = (_mean([r["parameters"][key] for r in results]) for key in ("trainable", "total"))
    flops = [r.get("operations") for r in results]
    return {
        "trainable": round(trainable),
        "share": trainable / total,
        "total": round(total),
        "epoch_seconds": _mean([r["seconds"]["fit"] / max(1, len(r["history"])) for r in results]),
        "seconds": _mean([r["seconds"]["without_encoding"] for r in results]),
        "encoding_seconds": float(sum(r["seconds"].get("encode", 0.0) for r in results)),
        "memory": _mean([peak_memory(r) for r in results]),
        "checkpoint": _mean([_size(run) for run in group.complete]),
        "operations": None if None in flops else _mean([float(f) for f in flops if f is not None]),
    }


def _size(run: Run) -> int:
    file = run.folder.best_checkpoint
    return file.stat().st_size if file.exists() else 0


def interval(group: Group, evidence: Evidence | None, name: str) -> Interval | None:
    """Returns the interval of a mean test score, within its bounds; None where nothing can be estimated."""
    if evidence is None:
        found = mean_interval(np.array(list(group.values("metrics", "test", name).values())))
    elif name == "accuracy" and (single := _of_one_run(group, evidence)):
        return single
    else:
        estimate = evidence.mean(group.name)
        found = None if estimate is None else estimate.interval().times(sign(name))
    return clipped(found, name)


def _of_one_run(group: Group, evidence: Evidence) -> Interval | None:
    """Returns Wilson's interval of a single run whose units are each right or wrong: a text may be right in some of its
    labels only, and so may a unit in some of its near copies."""
    if evidence.folds > 1 or len(evidence.scores[group.name]) != 1 or evidence.units is None:
        return None
    (scores,) = evidence.scores[group.name].values()
    count = len(np.unique(evidence.units))
    alike = count == len(scores) or np.ptp(scores) == 0
    return wilson(round(float(scores.mean()) * count), count) if alike and np.isin(scores, (0, 1)).all() else None


def clipped(found: Interval | None, name: str) -> Interval | None:
    """Returns the interval of a score without what it cannot be."""
    return found and Interval(
        found.value, max(found.low, LOWEST.get(name, 0.0)), min(found.high, HIGHEST.get(name, 1.0))
    )


def _difference(group: Group, base: Group, evidence: Evidence, contrast: Contrast, metric: str) -> dict[str, Any]:
    one, other = _paired(group, base, "metrics", "test", metric)
    mine, theirs = _paired(group, base, "seconds", "without_encoding")
    compared = group is not base and len(one) > 0
    estimate = evidence.difference(group.name, base.name) if compared else None
    direction = sign(metric)
    wins = significance.wins(direction * one, direction * other)
    return {
        "pairs": len(one),
        "evidence": evidence.kind(group.name, base.name) if compared else None,
        "difference": float((one - other).mean()) if compared else None,
        "difference_interval": contrast.interval and contrast.interval.times(direction),
        "p": contrast.p,
        "components": estimate and estimate.components,
        "seeds_interval": paired_interval(one, other) if compared else None,
        "seeds_p": significance.sign_flip_p(one - other) if compared and len(one) > 1 else None,
        "better": float(wins.mean()) if compared else None,
        "better_interval": significance.win_rate_interval(wins) if compared else None,
        "texts_p": _mcnemar(group, base, evidence) if compared and metric == "accuracy" and evidence.folds == 1 else {},
        "time_ratio": float(np.exp(np.mean(np.log(mine / theirs)))) if compared else None,
        "time_interval": ratio_interval(mine, theirs) if compared else None,
    }


def _paired(group: Group, base: Group, *keys: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mine, theirs = group.values(*keys), base.values(*keys)
    shared = sorted(mine.keys() & theirs.keys())
    return np.array([mine[block] for block in shared]), np.array([theirs[block] for block in shared])


def _mcnemar(group: Group, base: Group, evidence: Evidence) -> dict[str, float]:
    mine, theirs = evidence.scores[group.name], evidence.scores[base.name]
    return {
        _key(block): significance.mcnemar_p(mine[block] == 1, theirs[block] == 1)  # in all of their labels
        for block in sorted(mine.keys() & theirs.keys())
    }


def _key(block: Block) -> str:
    return str(block.seed) if not block.repeat else f"{block.seed}, repeat {block.repeat}"
