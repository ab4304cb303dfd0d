"""Advice in sentences: what was measured, what it costs, what to start with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.advice.advice import Advice
from src.advice.costs import StrategyCost
from src.advice.probes import ALL_LAYERS
from src.config.wording import brief_duration, counted
from src.statistics.intervals import Interval


def sentences(advice: Advice) -> list[str]:
    """Returns what to say first: what heads on single layers reach, which layer to read, what training costs."""
    return [_measured(advice), _choice(advice), _costs(advice.costs), *_oddities(advice)]


def _measured(advice: Advice) -> str:
    best, last, together = advice.best, advice.layer(f"layer {advice.depth}"), advice.layer(ALL_LAYERS)
    metric = advice.metric
    others = [] if best is last else [f"on the last one, which freeze=all reads, {last.scores[metric].value:.3f}"]
    others.append(f"on all of them together {together.scores[metric].value:.3f}")
    return (
        f"Measured: a linear head on layer {best.layers} of {advice.depth} of the frozen {advice.backbone} reaches "
        f"{metric} {with_error(best.scores[metric])}; {', '.join(others)} (leave-one-out, {advice.probed:,} "
        f"of {advice.given:,} training texts)."
    )


def _choice(advice: Advice) -> str:
    chosen, margin = advice.chosen, f"{advice.margin:g}"
    candidates = ", ".join(str(advice.layer(name).layers) for name in _by_depth(advice))
    if advice.decision.sure:
        why = f"the cheapest that is shown to be at most {margin} below the best layer"
    elif chosen is advice.best:
        why = f"none scores higher here, and it is the cheapest of those that score at most {margin} below the best"
    else:
        why = f"the cheapest of those that may be the best and score at most {margin} below the best one here"
    mixed = (
        " All layers together are better: freeze=mix, which reads a weighted sum of them, is worth a try."
        if advice.mix
        else ""
    )
    share = (
        f" Predictions then take {chosen.layers / advice.depth:.0%} of the layers."
        if chosen.layers < advice.depth
        else ""
    )
    return f"Read layer {chosen.layers}: {why} (may be the best: {candidates}).{share}{mixed}"


def _costs(costs: Mapping[str, StrategyCost]) -> str:
    named = ", ".join(f"{name} {brief_duration(cost.epoch)}" for name, cost in costs.items())
    return (
        f"An epoch takes here: {named}; of gradual, which trains more layers from phase to phase, at most as long as "
        "of none. What training layers would add is not known before it is tried: start with the command below."
    )


def _oddities(advice: Advice) -> list[str]:
    data, issues = advice.data, advice.issues
    found = []
    if issues:
        texts = counted(len({issue.text for issue in issues}), "training text")
        found.append(
            f"label_issues.csv: {texts} whose labels the probe doubts, which is often wrong itself; read the first."
        )
    if data.copies:
        texts = counted(data.copies, "training text")
        found.append(f"The probes leave out {texts} that others contain, or nearly.")
    if any(data.leaked.values()):
        named = " and ".join(f"{counted(count, 'text')} of {name}" for name, count in data.leaked.items() if count)
        named += "" if advice.whole else " of those that were looked at"
        found.append(f"Also in the training texts, or nearly: {named}. Scores on them say little about new texts.")
    if cut := [
        f"{part.texts:,} of {part.total:,} texts of {name} (median {counted(part.median, 'token')})"
        for name, part in advice.truncated.items()
        if part.texts
    ]:
        found.append(f"Not read completely: {', '.join(cut)}.")
    return found


def with_error(interval: Interval) -> str:
    """Returns a score with half the width of its interval, such as `0.760 ± 0.015`, or alone where that is 0."""
    half = (interval.high - interval.low) / 2
    return f"{interval.value:.3f} ± {half:.3f}" if half else f"{interval.value:.3f}"


def _by_depth(advice: Advice) -> Sequence[str]:
    return sorted(advice.decision.candidates, key=lambda name: advice.layer(name).layers)
