"""Groups of runs side by side: scores with intervals, costs, the difference to a baseline and what it can claim."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.config import UserError, nearest
from src.report import statistics
from src.report.groups import STRATEGY, Group
from src.report.statistics import Interval

METRICS = ("accuracy", "f1_macro")  # shown where runs have them; the first decides unless another is chosen


@dataclass(frozen=True)
class Row:
    """One group of a comparison. Costs are means over the runs, in seconds and bytes."""

    name: str
    label: Mapping[str, str]
    seeds: list[int]
    missing: list[int]  # seeds that other groups have finished and this one has not
    scores: dict[str, float]  # means of the test scores
    interval: Interval | None  # of the mean of the score that decides
    trainable: int
    share: float  # of all parameters
    epoch_seconds: float
    seconds: float
    memory: float
    checkpoint: float
    pairs: int  # seeds in common with the baseline
    difference: float | None  # of the means over these seeds
    difference_interval: Interval | None
    rows_interval: Interval | None  # with the test texts drawn anew as well
    p: float | None  # of the sign-flip test, by Holm
    time_ratio: float | None  # of the whole time to the baseline's, by geometric means
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
        {"run": str(r.folder.path), "group": g.name, "seed": str(r.seed), "problem": r.problem}
        for g in groups
        for r in g.runs
        if r.result is None
    ]
    finished = [g for g in groups if g.finished]
    if not finished:
        raise UserError(
            "None of these runs has finished:\n" + "\n".join(f"{p['run']}: {p['problem']}" for p in problems)
        )
    known = set.intersection(
        *(set(r.result["metrics"]["test"]) for g in finished for r in g.finished.values() if r.result)
    )
    if metric not in known:
        raise UserError(f"metric must be a test score of all runs; got {metric}.\n{nearest(metric, known)}")
    base = _baseline(finished, baseline)
    others = [g for g in finished if g is not base]
    raw = {g.name: _p(g, base, metric) for g in others}
    tested = [name for name, p in raw.items() if p is not None]
    adjusted = dict(zip(tested, statistics.holm([raw[name] or 0.0 for name in tested]), strict=True))
    every = sorted({seed for g in finished for seed in g.finished})
    rows = [_row(g, base, metric, margin, adjusted.get(g.name), every, len(others)) for g in finished]
    rows.sort(key=lambda row: (-row.scores[metric], row.name))
    return Comparison(metric, base.name, margin, rows, problems, _sentence(rows, base.name, metric, margin))


def _baseline(groups: Sequence[Group], wanted: str | None) -> Group:
    asked = (wanted or "none").removeprefix("freeze=")
    found = [g for g in groups if asked in (g.name, g.label[STRATEGY])]
    if len(found) == 1 or (found and wanted is None):
        return found[0]
    if wanted is None:
        return groups[0]
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
        if all(name in r["metrics"]["test"] for r in results)
    }
    one, other = _paired(group, base, "metrics", "test", metric)
    itself = group is base
    interval = None if itself else statistics.paired_interval(one, other)
    mine, theirs = _paired(group, base, "seconds", "total")
    parameters = results[0]["parameters"]
    return Row(
        name=group.name,
        label=group.label,
        seeds=sorted(group.finished),
        missing=[seed for seed in every if seed not in group.finished],
        scores=scores,
        interval=statistics.mean_interval(np.array([r["metrics"]["test"][metric] for r in results])),
        trainable=int(parameters["trainable"]),
        share=parameters["trainable"] / parameters["total"],
        epoch_seconds=float(np.mean([r["seconds"]["fit"] / max(1, len(r["history"])) for r in results])),
        seconds=float(np.mean([r["seconds"]["total"] for r in results])),
        memory=float(np.mean([r["peak_memory_bytes"] for r in results])),
        checkpoint=float(np.mean([_size(run.folder.best_checkpoint) for run in group.finished.values()])),
        pairs=len(one),
        difference=None if itself or not len(one) else float((one - other).mean()),
        difference_interval=interval,
        rows_interval=None if itself else _with_rows(group, base),
        p=p,
        time_ratio=None if itself or not len(one) else float(np.exp(np.mean(np.log(mine / theirs)))),
        verdict="baseline" if itself else _verdict(interval, margin, len(one), comparisons),
    )


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _with_rows(group: Group, base: Group) -> Interval | None:
    shared = sorted(group.finished.keys() & base.finished.keys())
    pairs = [(group.finished[s].hits(), base.finished[s].hits()) for s in shared]
    one, other = [a for a, _ in pairs if a is not None], [b for _, b in pairs if b is not None]
    if not pairs or len(one) != len(pairs) or len(other) != len(pairs) or len({len(x) for x in one + other}) > 1:
        return None
    return statistics.bootstrap_difference(np.array(one), np.array(other))


def _verdict(interval: Interval | None, margin: float, pairs: int, comparisons: int) -> str:
    needed = statistics.seeds_needed(comparisons)
    if pairs < statistics.FEWEST:
        return f"descriptive only: {pairs} of {needed} seeds"
    return statistics.verdict(interval, margin)


def _sentence(rows: Sequence[Row], baseline: str, metric: str, margin: float) -> str:
    """The answer, in words for people who do not read tables, with what it stands on."""
    best, what = rows[0], metric.replace("_", " ")
    base = next(row for row in rows if row.name == baseline)
    said = [f"{best.name} has the highest test {what}, {best.scores[metric]:.3f} on average over {_seeds(best)}."]
    cheap = [row for row in rows if row.time_ratio and row.time_ratio < 0.8 and row.difference is not None]
    if best is not base and best.difference is not None:
        said.append(f"That is {best.difference:+.3f} against {baseline} ({best.verdict}).")
    if cheap and (quick := max(cheap, key=lambda row: row.difference or 0)) is not best and quick.time_ratio:
        said.append(
            f"{quick.name} comes to {quick.scores[metric]:.3f} ({quick.difference:+.3f}; {quick.verdict}) in "
            f"{quick.time_ratio:.0%} of {baseline}'s time."
        )
    if min(row.pairs for row in rows) < statistics.FEWEST:
        said.append("So few seeds describe these runs; they prove nothing about the next one.")
    else:
        said.append(f"As good means no more than {margin:g} worse, with 95% confidence.")
    return " ".join(said)


def _seeds(row: Row) -> str:
    return f"{len(row.seeds)} seed{'s' * (len(row.seeds) != 1)}"


def cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table that people read."""
    metric = comparison.metric
    second = [m for m in METRICS if m != metric and all(m in row.scores for row in comparison.rows)]
    header = [*comparison.rows[0].label, "seeds", f"test {metric}", "difference", "p", "verdict"]
    header += [*(f"test {m}" for m in second), "trainable", "epoch", "total", "memory", "checkpoint"]
    body = []
    for row in comparison.rows:
        missing = f" (without {', '.join(map(str, row.missing))})" if row.missing else ""
        costs = [f"{row.epoch_seconds:.1f} s", f"{row.seconds:.0f} s", _bytes(row.memory), _bytes(row.checkpoint)]
        difference = "" if row.difference is None else f"{row.difference:+.3f}{_bounds(row.difference_interval, '+')}"
        body.append(
            [
                *row.label.values(),
                f"{len(row.seeds)}{missing}",
                f"{row.scores[metric]:.3f}{_bounds(row.interval)}",
                difference,
                "" if row.p is None else f"{row.p:.3f}",
                row.verdict,
                *(f"{row.scores[m]:.3f}" for m in second),
                f"{row.trainable:,} ({row.share:.1%})",
                *costs,
            ]
        )
    return header, body


def _bounds(interval: Interval | None, sign: str = "") -> str:
    return f" [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]" if interval else " [n/a]"


def _bytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def as_markdown(comparison: Comparison) -> str:
    header, body = cells(comparison)
    lines = [comparison.sentence, "", f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in body]
    if comparison.problems:
        lines += ["", "Without a result:", ""]
        lines += [f"- {problem_line(problem)}" for problem in comparison.problems]
    return "\n".join(lines) + "\n"


def problem_line(problem: Mapping[str, str]) -> str:
    return f"{problem['group']}, seed {problem['seed']}: {problem['problem']} ({problem['run']})"


def as_csv(comparison: Comparison) -> str:
    """One line a group, with plain numbers."""
    text = io.StringIO()
    rows = [_plain(row) for row in comparison.rows]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plain(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in asdict(row).items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": v for inner, v in value.items()}
        else:
            found[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    for key in ("interval", "difference_interval", "rows_interval"):
        interval: Interval | None = getattr(row, key)
        found.pop(key, None)
        for bound in ("value", "low", "high"):
            found[f"{key}.{bound}"] = getattr(interval, bound) if interval else None
    return found


def as_json(comparison: Comparison) -> str:
    return json.dumps(asdict(comparison), indent=2) + "\n"


FORMATS = {"md": as_markdown, "csv": as_csv, "json": as_json}


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Leaves the comparison beside the runs, in every format."""
    files = []
    for ending, render in FORMATS.items():
        file = folder / f"comparison.{ending}"
        file.write_text(render(comparison), encoding="utf-8")
        files.append(file)
    return files
