"""Groups of runs side by side: scores with intervals, costs, the difference to a baseline and what it can claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.comparison import statistics
from src.comparison.alike import changed_backbones, unlike
from src.comparison.groups import STRATEGY, Group
from src.comparison.statistics import Interval
from src.config.monitor import LESS_IS_BETTER
from src.errors import UserError, nearest
from src.freezing.strategy import percent
from src.runs.folder import RunFolder

METRICS = ("accuracy", "f1_macro")  # shown where runs have them; the first decides unless another is chosen


# What a verdict means to people who do not read tables.
WORDS = {
    "superior": "better",
    "non-inferior": "as good",
    "inferior": "worse",
    "inconclusive": "not clear which of them is better",
}


@dataclass(frozen=True)
class Row:
    """One group of a comparison. Costs are means over the runs, in seconds and bytes."""

    name: str
    label: Mapping[str, str]
    seeds: list[int]
    missing: list[int]  # seeds that other groups have finished and this one has not
    scores: dict[str, float]  # means of the test scores
    intervals: dict[str, Interval | None]  # of these means; of one run's accuracy: over its texts
    trainable: int  # parameters that trained in the phases that were reached, on average
    share: float  # of all parameters
    epoch_seconds: float
    seconds: float
    memory: float
    checkpoint: float
    operations: float | None  # of training and encoding, floating-point
    pairs: int  # seeds in common with the baseline
    difference: float | None  # of the means over these seeds
    difference_interval: Interval | None
    rows_interval: Interval | None  # with the test texts drawn anew as well
    p: float | None  # of the sign-flip test, by Holm
    better: float | None  # how often it is better than the baseline with the same seed, ties by half
    better_interval: Interval | None
    texts_p: dict[int, float]  # of McNemar's test on the texts, by seed
    time_ratio: float | None  # of the whole time to the baseline's, by geometric means
    time_interval: Interval | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All groups, the best on top, and what they say in one sentence."""

    metric: str
    baseline: str
    margin: float
    rows: list[Row]
    problems: list[dict[str, str]]  # runs without a result
    sentence: str


def compare(groups: Sequence[Group], metric: str, baseline: str | None, margin: float) -> Comparison:
    """
    Args:
        groups: at least one with a result.
        metric: the test score that decides; more is better.
        baseline: a strategy or a group's name; None: `none` if there is one, else the first group.
        margin: how much worse is still as good.

    Raises:
        UserError: no run has finished, or there is no such metric or baseline.
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
    adjusted = dict(zip(tested, statistics.holm([raw[name] or 0.0 for name in tested]), strict=True))
    every = sorted({seed for g in finished for seed in g.finished})
    rows = [_row(g, base, metric, margin, adjusted.get(g.name), every, len(others)) for g in finished]
    rows.sort(key=lambda row: (-row.scores[metric], row.name != base.name, row.name))
    sentence = _sentence(rows, base.name, metric, margin)
    if max(tried := {g.tried for g in groups}) > 1:
        counts = ", ".join(f"{g.name} of {g.tried}" for g in groups)
        same = "" if len(tried) == 1 else " Unequal numbers of trials favour those with more."
        sentence += f" Each is the best by validation of its trials: {counts}.{same}"
    if apart := unlike([run for group in groups for run in group.runs]):
        sentence += f" These runs differ in {', '.join(apart)}, so their tests may not be the same one."
    if changed := changed_backbones([run for group in groups for run in group.runs]):
        sentence += f" The files of {', '.join(changed)} changed between these runs, which differ in that too."
    if problems:
        sentence += f" {len(problems)} of {sum(len(g.runs) for g in groups)} runs have no result."
    return Comparison(metric, base.name, margin, rows, problems, sentence)


def _log(folder: RunFolder) -> str:
    return str(folder.log if folder.log.exists() else folder.path)


def _check_metric(metric: str, scores: Sequence[Mapping[str, float | None]]) -> None:
    known = {name for name in scores[0] if all(found.get(name) is not None for found in scores)} - LESS_IS_BETTER
    if metric not in known:
        raise UserError(
            f"metric must be a test score that all runs have and of which more is better; got {metric}.\n"
            f"{nearest(metric, known)}"
        )


def _baseline(groups: Sequence[Group], wanted: str | None) -> Group:
    if wanted is None:
        return next((g for g in groups if g.label[STRATEGY] == "none"), groups[0])
    asked = wanted.removeprefix("freeze=")
    found = [g for g in groups if asked in (g.name, *g.label.values())]
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"baseline must name one group; {asked} names {len(found)}.\n"
        f"There are: {', '.join(g.name for g in found or groups)}."
    )


def _paired(group: Group, base: Group, *keys: str) -> tuple[Any, Any]:
    mine, theirs = group.values(*keys), base.values(*keys)
    shared = sorted(mine.keys() & theirs.keys())
    return np.array([mine[s] for s in shared]), np.array([theirs[s] for s in shared])


def _p(group: Group, base: Group, metric: str) -> float | None:
    one, other = _paired(group, base, "metrics", "test", metric)
    return statistics.sign_flip_p(one - other) if len(one) >= 2 else None


def _row(
    group: Group, base: Group, metric: str, margin: float, p: float | None, every: Sequence[int], comparisons: int
) -> Row:
    results = [run.result for run in group.finished.values() if run.result]
    scores = {
        name: float(np.mean([r["metrics"]["test"][name] for r in results]))
        for name in dict.fromkeys((metric, *METRICS))
        if all(r["metrics"]["test"].get(name) is not None for r in results)
    }
    one, other = _paired(group, base, "metrics", "test", metric)
    itself = group is base
    interval = None if itself else statistics.paired_interval(one, other)
    pairs = {} if itself else _hits(group, base)
    wins = statistics.wins(one, other)
    mine, theirs = _paired(group, base, "seconds", "total")
    # Phases that end on a plateau may reach further with one seed than with another.
    trainable, total = (float(np.mean([r["parameters"][key] for r in results])) for key in ("trainable", "total"))
    return Row(
        name=group.name,
        label=group.label,
        seeds=sorted(group.finished),
        missing=[seed for seed in every if seed not in group.finished],
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
        difference=None if itself or not len(one) else float((one - other).mean()),
        difference_interval=interval,
        rows_interval=_with_rows(pairs),
        p=p,
        better=None if itself or not len(one) else float(wins.mean()),
        better_interval=None if itself else statistics.share_interval(wins),
        texts_p={seed: statistics.mcnemar_p(*hits) for seed, hits in pairs.items()},
        time_ratio=None if itself or not len(one) else float(np.exp(np.mean(np.log(mine / theirs)))),
        time_interval=None if itself else statistics.ratio_interval(mine, theirs),
        verdict="baseline" if itself else _verdict(interval, margin, p, len(one), comparisons),
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
        return None if hits is None else statistics.wilson(int(hits.sum()), len(hits))
    found = statistics.mean_interval(np.array([r["metrics"]["test"][name] for r in results]))
    lowest = -1 if name == "mcc" else 0
    return found and Interval(found.value, max(found.low, lowest), min(found.high, 1))


def _hits(group: Group, base: Group) -> dict[int, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Which test texts each of two paired runs has right, by seed; none unless all runs were tested on as many."""
    shared = sorted(group.finished.keys() & base.finished.keys())
    found = {seed: (group.finished[seed].hits(), base.finished[seed].hits()) for seed in shared}
    whole = {seed: (a, b) for seed, (a, b) in found.items() if a is not None and b is not None}
    same = len({len(hits) for pair in whole.values() for hits in pair}) == 1
    return whole if same and len(whole) == len(found) else {}


def _with_rows(pairs: Mapping[int, tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> Interval | None:
    if not pairs:
        return None
    one, other = zip(*pairs.values(), strict=True)
    return statistics.bootstrap_difference(np.array(one), np.array(other))


def _verdict(interval: Interval | None, margin: float, p: float | None, pairs: int, comparisons: int) -> str:
    needed = statistics.seeds_needed(comparisons)
    if pairs < statistics.FEWEST:
        return f"descriptive only: {pairs} of {needed} seeds"
    return statistics.verdict(interval, margin, p)


def _sentence(rows: Sequence[Row], baseline: str, metric: str, margin: float) -> str:
    """The answer, in words for people who do not read tables, with what it stands on."""
    best, what = rows[0], metric.replace("_", " ")
    base = next(row for row in rows if row.name == baseline)
    score = f"{best.scores[metric]:.3f} on average over {_seeds(best)}"
    if len(rows) == 1:
        return f"{_who(best)} comes to a test {what} of {score}. There is nothing to compare it with."
    level = [row.name for row in rows[1:] if row.scores[metric] == best.scores[metric]]
    same = f", and {' and '.join(level)} the same" if level else ""
    said = [f"{_who(best)} has the highest test {what}, {score}{same}."]
    cheap = [row for row in rows if row.time_ratio and row.time_ratio < 0.8 and row.difference is not None]
    told = [best] if best is not base and best.difference is not None else []
    if told:
        said.append(f"With the same seeds that is {best.difference:+.3f} against {_who(base)}: {_meaning(best)}.")
    elif best is not base:
        said.append(f"It has no seed in common with {baseline}, so their difference is not known.")
    if cheap and (quick := max(cheap, key=lambda row: row.difference or 0)) is not best and quick.time_ratio:
        told.append(quick)
        said.append(
            f"{_who(quick)} comes to {quick.scores[metric]:.3f} ({quick.difference:+.3f}: {_meaning(quick)}) in "
            f"{quick.time_ratio:.0%} of the time of {baseline}."
        )
    if min(row.pairs for row in told or rows) < statistics.FEWEST:
        needed = statistics.seeds_needed(len(rows) - 1)
        said.append(f"So few seeds describe these runs and prove nothing about the next; that takes {needed} seeds.")
    else:
        said.append(
            f"Better means by more than chance, as good at most {margin:g} worse, worse by more, with 95% confidence."
        )
    return " ".join(said)


def _who(row: Row) -> str:
    trains = f"{'all' if row.share == 1 else percent(row.share) + ' of the'} weights train"
    return f"{row.name[:-1]}; {trains})" if row.name.endswith(")") else f"{row.name} ({trains})"


def _meaning(row: Row) -> str:
    return WORDS.get(row.verdict, "too few seeds to say")


def _seeds(row: Row) -> str:
    return f"{len(row.seeds)} seed{'s' * (len(row.seeds) != 1)}"
