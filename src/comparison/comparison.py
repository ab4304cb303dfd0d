"""Compares groups of runs: scores and costs, differences to a baseline, which to choose, and the answer in words."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from src.comparison import rows as building
from src.comparison.decision import Decision, all_pairs, decide, find_identical
from src.comparison.differences import identical
from src.comparison.evidence import Chooser, Evidence, choosing, gather
from src.comparison.learning_curves import LearningCurves
from src.comparison.rows import BASELINE, IDENTICAL, UNDERTRAINED, Contrast, Row
from src.comparison.settling import Plan, plan
from src.comparison.summary import learned, raced, summarise
from src.comparison.verdicts import verdict
from src.config.monitor import IN_UNITS, MARGIN, NOT_COMPARED
from src.config.sections import Cost
from src.config.wording import counted, joined
from src.errors import UserError, nearest
from src.grouping.comparable import changed_backbones, differing_settings
from src.grouping.groups import Group
from src.grouping.runs import NONE_FINISHED, STRATEGY, Lost, Run
from src.race.replay import Race
from src.runs.folder import RunFolder
from src.runs.results import peak_memory
from src.statistics.best import AllPairs


@dataclass(frozen=True)
class Comparison:
    """All groups, the best first, and the answer in words."""

    metric: str
    baseline: str
    margin: float
    cost: Cost
    chooser: Chooser  # whose texts decide; differences to the baseline are always of test texts
    rows: list[Row]
    decision: Decision
    plan: Plan | None
    problems: list[dict[str, str]]  # runs without a result
    sentence: str
    learning: LearningCurves | None = None  # where the number of training texts is varied
    race: Race | None = None  # where validation scores have decided, before these test scores were looked at


def with_learning(comparison: Comparison, found: LearningCurves | None, smaller: Sequence[Group]) -> Comparison:
    """Returns the comparison with learning curves, and what follows from them in its sentence.

    Args:
        comparison: of the groups with the most training texts.
        found: the curves.
        smaller: the groups with other numbers of training texts, whose failed runs are listed too.
    """
    said = [comparison.sentence, *learned(found, comparison.metric)]
    if missing := _problems(smaller):
        said.append(f"{len(missing)} runs with another number of training texts have no result.")
    return with_problems(replace(comparison, learning=found, sentence=" ".join(said)), smaller)


def with_problems(comparison: Comparison, groups: Sequence[Group]) -> Comparison:
    """Returns the comparison with the failed runs of groups that it does not compare."""
    return replace(comparison, problems=[*comparison.problems, *_problems(groups)])


def with_lost(comparison: Comparison, runs: Sequence[Lost]) -> Comparison:
    """Returns the comparison with runs of which no group is known among its problems."""
    if not runs:
        return comparison
    problems = [
        {"run": str(r.folder.path), "log": _log(r.folder), "group": r.strategy, "seed": r.seed, "problem": r.problem}
        for r in runs
    ]
    count = f"{counted(len(runs), 'more run')} {'has' if len(runs) == 1 else 'have'} no result and no valid config."
    sentence = f"{comparison.sentence} {count}"
    return replace(comparison, problems=[*comparison.problems, *problems], sentence=sentence)


def compare(
    groups: Sequence[Group],
    metric: str | None,
    baseline: str | None,
    margin: float | None = None,
    cost: Cost | None = None,
    race: Race | None = None,
) -> Comparison:
    """Compares groups with each other, by validation scores where that is possible, and by test scores with a baseline.

    Args:
        groups: at least one with a result.
        metric: the test score to compare. None: accuracy; of numbers, the Pearson correlation.
        baseline: the name of a strategy or group; None: `none` if it exists, else the first group.
        margin: how much worse is still as good. None: that of the race, or else 0.01; of an error in the units of the
            targets, 0.01 of their standard deviations in training.
        cost: what makes a group cheaper. None: that of the race, or else time.
        race: that these runs were made for; what it has chosen, by its own cost, is the answer.

    Raises:
        UserError: no run has finished, the metric or baseline does not exist, or the race was by another cost.
    """
    cost = _cost(cost, race)
    problems = _problems(groups)
    finished = [group for group in groups if group.blocks]
    if not finished:
        raise UserError(_nothing_finished(groups, problems))
    metric = _metric(metric, [run.result["metrics"]["test"] for g in finished for run in g.finished if run.result])
    base = _baseline(finished, baseline)
    if margin is None:
        margin = race.rules.margin if race and race.rules.metric == metric else _usual_margin(finished, metric)
    scores = [building.mean_scores(group, metric) for group in finished]
    evidence = {name: gather(finished, name) for name in scores[0] if all(name in found for found in scores)}
    chooser, chosen_by = choosing(finished, metric, evidence[metric])
    deciding = {name: float(np.mean(list(found.values()))) for name, found in chosen_by.totals.items()}
    finished.sort(key=lambda group: (-deciding[group.name], group is not base, group.name))
    names = [group.name for group in finished]
    trained = {group.name: deciding[group.name] for group in finished if building.advice(group.complete) is None}
    tested = all_pairs(evidence[metric], names)
    pairs = tested if chooser == "test" else all_pairs(chosen_by, names)
    costs = {group.name: cost_of(group.complete, cost) for group in finished}
    same = find_identical([group for group in finished if group.name in trained], costs, pairs)
    decision = decide(trained, costs, pairs, margin, same)
    if race and race.chosen in costs:
        decision = replace(decision, chosen=race.chosen, sure=race.settled)
    contrasts = _contrasts(finished, base, evidence[metric], tested, margin, trained)
    seeds = sorted({block.seed for group in finished for block in group.blocks})
    rows = [building.build(g, base, evidence, decision, contrasts[g.name], metric, seeds) for g in finished]
    settling = None if race else plan(decision, pairs, margin, rows)
    found = Comparison(metric, base.name, margin, cost, chooser, rows, decision, settling, problems, "", race=race)
    answer = raced(found) if race else summarise(found, pairs, _common_folder(finished))
    return replace(found, sentence=" ".join([answer, *_remarks(groups, evidence[metric], problems, chooser, metric)]))


def _cost(wanted: Cost | None, race: Race | None) -> Cost:
    """
    Raises:
        UserError: it is not that of the race.
    """
    if race and wanted not in (None, race.rules.cost):
        raise UserError(
            f"cost must be {race.rules.cost}, by which this race has chosen who stays; got {wanted}.\n"
            f"Leave it out, or run another race: race.cost={wanted}"
        )
    return race.rules.cost if race else wanted or "time"


def _problems(groups: Sequence[Group]) -> list[dict[str, str]]:
    return [
        {"run": str(r.folder.path), "log": _log(r.folder), "group": g.name, "seed": str(r.seed), "problem": r.problem}
        for g in groups
        for r in g.runs
        if r.result is None
    ]


def _log(folder: RunFolder) -> str:
    return str(folder.log if folder.log.exists() else folder.path)


def _nothing_finished(groups: Sequence[Group], problems: Sequence[Mapping[str, str]]) -> str:
    if any(group.finished for group in groups):
        return "No group has a run of every fold. Train the missing folds: the same command again."
    return NONE_FINISHED + "\n".join(f"{p['log']}: {p['problem']}" for p in problems)


def _metric(wanted: str | None, scores: Sequence[Mapping[str, float | None]]) -> str:
    """
    Raises:
        UserError: runs lack the score.
    """
    known = {name for name in scores[0] if all(found.get(name) is not None for found in scores)} - NOT_COMPARED
    metric = wanted or next((name for name in building.METRICS if name in known), building.METRICS[0])
    if metric not in known:
        raise UserError(
            f"metric must be a test score that all runs have, and no loss; got {metric}.\n{nearest(metric, known)}"
        )
    return metric


def _usual_margin(groups: Sequence[Group], metric: str) -> float:
    """Returns the margin where none is given; it does not depend on what the runs predict."""
    if metric not in IN_UNITS:
        return MARGIN
    return MARGIN * float(np.mean([run.result["target_std"] for g in groups for run in g.finished if run.result]))


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


def cost_of(runs: Sequence[Run], cost: Cost) -> float:
    """Returns what runs with a result cost on average: seconds or bytes, trained parameters, or, of predictions,
    parameters."""
    numbers: dict[Cost, Callable[[Mapping[str, Any]], float]] = {
        "time": lambda result: result["seconds"]["without_encoding"],
        "memory": peak_memory,
        "parameters": lambda result: result["parameters"]["trainable"],
        "inference": lambda result: result["parameters"]["total"],
    }
    return float(np.mean([numbers[cost](run.result) for run in runs if run.result]))


def _contrasts(
    groups: Sequence[Group],
    base: Group,
    evidence: Evidence,
    pairs: AllPairs,
    margin: float,
    trained: Collection[str],
) -> dict[str, Contrast]:
    """Returns the contrast of each group to the baseline."""
    others = {group.name: group for group in groups if group is not base}
    found = {base.name: Contrast(None, None, BASELINE if base.name in trained else f"{BASELINE}, {UNDERTRAINED}")}
    for name, group in others.items():
        interval, seeds = pairs.interval(name, base.name), len(evidence.shared(name, base.name))
        if interval is None and identical(group, base):
            said = IDENTICAL
        else:
            said = verdict(interval, margin, seeds, evidence.kind(name, base.name))
        known = said if {name, base.name} <= {*trained} else UNDERTRAINED
        found[name] = Contrast(interval, pairs.p(name, base.name), known)
    return found


def _common_folder(groups: Sequence[Group]) -> str:
    """Returns the common folder of the runs."""
    return os.path.commonpath([run.folder.path.parent for group in groups for run in group.runs])


def _remarks(
    groups: Sequence[Group], evidence: Evidence, problems: Sequence[Any], chooser: Chooser, metric: str
) -> list[str]:
    """Returns what else a reader must know: who chose, trials, the most frequent label, runs that differ in their test,
    runs without predictions or without a result."""
    found, runs = [], [run for group in groups for run in group.runs]
    tried = {g.tried for g in groups}
    if chooser == "test" and evidence.folds == max(tried) == 1 and any(evidence.scores.values()):
        found.append("The test scores chose, since not all runs have predictions of their validation texts.")
    if max(tried) > 1:
        counts = ", ".join(f"{g.name} {g.tried}" for g in groups)
        unequal = "" if len(tried) == 1 else " Unequal numbers of trials favour groups with more of them."
        found.append(f"Each group is its trial with the best validation score (number of trials: {counts}).{unequal}")
    if metric == "accuracy" and (least := building.majority(groups)) is not None:
        found.append(f"Always predicting the most frequent label has a test accuracy of {least:.3f}.")
    if different := differing_settings(runs):
        found.append(f"These runs differ in {', '.join(different)}, so their test scores may not be comparable.")
    if changed := changed_backbones(runs):
        found.append(
            f"The files of {', '.join(changed)} changed between these runs, so their pretrained weights may differ."
        )
    if partial := [group.name for group in groups if len(group.complete) < len(group.finished)]:
        found.append(f"Repeats of which a fold is missing are left out: of {joined(partial)}.")
    if unread := [str(run.folder.path) for run in evidence.unread]:
        found.append(
            "Groups with these runs are judged by their seeds alone, since there are no predictions of the same test "
            f"texts in {joined(unread)}."
        )
    if problems:
        found.append(f"{len(problems)} of {len(runs)} runs have no result.")
    return found
