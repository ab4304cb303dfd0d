"""The answer of a comparison in words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.comparison.evidence import FEW_SEEDS, MIN_SEEDS, Chooser
from src.comparison.learning_curves import LearningCurves
from src.comparison.rows import UNDERTRAINED, Row
from src.comparison.settling import Plan
from src.config.monitor import at_most, shown, worse_side
from src.config.quoting import shell_argument
from src.config.sections import Cost
from src.config.wording import brief_duration, counted, duration, joined, rounded
from src.freezing.strategy import percent
from src.race.words import answer, bounded
from src.statistics.best import AllPairs
from src.statistics.intervals import Interval

if TYPE_CHECKING:
    from src.comparison.comparison import Comparison
    from src.comparison.decision import Decision

REPEATS = 3  # of a cross-validation, after which more of them change little


def summarise(comparison: Comparison, pairs: AllPairs, folder: str) -> str:
    """Returns the answer in words, with the evidence for it.

    Args:
        comparison: without its sentence.
        pairs: the differences of all groups.
        folder: of the runs.
    """
    rows, decision = comparison.rows, comparison.decision
    metric = comparison.metric.replace("_", " ")
    if len(rows) == 1:
        return (
            f"{_described(rows[0])} has a test {metric} of {_score(rows[0], comparison.metric)}. There is no other "
            f"group to compare it with.{_alone(rows[0])}"
        )
    sentences = _undertrained(rows)
    if not decision.loss:
        return " ".join(sentences)
    sentences += _identical(decision)
    if decision.chosen is None:
        sentences.append(_highest(comparison, metric))
    else:
        sentences += [_choice(comparison, metric), *_candidates(comparison, pairs), *_scope(rows)]
    if settling := _settling(comparison, folder):
        sentences.append(settling)
    return " ".join(sentences)


def raced(comparison: Comparison) -> str:
    """Returns the answer of a race in words, with the test score of what it has chosen."""
    race, metric = comparison.race, comparison.metric
    chosen = next((row for row in comparison.rows if race and row.name == race.chosen), None)
    if race is None or chosen is None:
        return "The runs of this folder have changed since the race; the same command again goes on with it."
    interval = chosen.intervals[metric]
    score = bounded(interval, metric) if interval else shown(chosen.scores[metric], metric)
    warnings = _undertrained(comparison.rows, "the race is one over so many steps")
    return " ".join([*warnings, answer(race, _described(chosen), score, metric.replace("_", " "))])


def _score(row: Row, metric: str) -> str:
    count = len(row.seeds)
    return f"{shown(row.scores[metric], metric)} " + ("with 1 seed" if count == 1 else f"on average over {count} seeds")


def _alone(row: Row) -> str:
    return f" It was {UNDERTRAINED}: try {row.undertrained}." if row.undertrained else ""


def _described(row: Row, more: str = "") -> str:
    weights = "all weights" if row.share == 1 else f"{percent(row.share)} of the weights"
    trains = f"trains {row.trains}, {weights}" if row.trains and row.share < 1 else f"{weights} train"
    trains += more and f"; {more}"
    return f"{row.name[:-1]}; {trains})" if row.name.endswith(")") else f"{row.name} ({trains})"


def _undertrained(rows: Sequence[Row], so: str = "nothing is concluded from that") -> list[str]:
    """Says which groups were not trained to the end, before anything else, and what follows from it."""
    found = [row for row in rows if row.undertrained]
    if not found:
        return []
    every = len(found) == len(rows)
    names = "No group was" if every else f"{joined([row.name for row in found])} {_were(found)} not"
    they = "Its score says how fast it learns" if len(found) == 1 else "Their scores say how fast they learn"
    steps = max(row.steps for row in found)
    return [
        f"{names} trained to the end: the last epoch was the best, the training loss was still falling, after at most "
        f"{steps:.0f} steps. {they}, so {so}; try {found[0].undertrained}."
    ]


def _identical(decision: Decision) -> list[str]:
    """Says which groups stand for others that predict the same."""
    found: dict[str, list[str]] = {}
    for name, other in decision.identical.items():
        found.setdefault(other, []).append(name)
    return [
        f"{joined(names)} {'predicts' if len(names) == 1 else 'predict'} the same as {other} for every test text with "
        f"every seed; the choice considers {other} alone, which costs no more."
        for other, names in found.items()
    ]


def _highest(comparison: Comparison, metric: str) -> str:
    """Says which of the groups that were trained to the end is the first by the scores that choose."""
    best = next(row for row in comparison.rows if row.name in comparison.decision.loss)
    among = " of those that were" if any(row.undertrained for row in comparison.rows) else ""
    is_said = f"; its test {metric} is" if comparison.chooser == "validation" else ","
    return (
        f"{_described(best)} has the best {comparison.chooser} {metric}{among}{is_said} "
        f"{_score(best, comparison.metric)}, but these runs do not say how far the differences can be trusted."
    )


def _choice(comparison: Comparison, metric: str) -> str:
    decision, margin, side = comparison.decision, float(f"{comparison.margin:.3g}"), worse_side(comparison.metric)
    chosen = next(row for row in comparison.rows if row.name == decision.chosen)
    score, cost = _score(chosen, comparison.metric), _cost(chosen, comparison.cost)
    if len(decision.loss) == 1 and not decision.identical:
        return f"Only {_described(chosen)} was trained to the end: test {metric} {score}."
    by = f" in validation {metric}" if comparison.chooser == "validation" else ""
    if decision.candidates == [decision.chosen]:
        return f"Choose {_described(chosen)}: test {metric} {score}. It is the best{by} ({cost})."
    if decision.sure:
        return (
            f"Choose {_described(chosen)}: test {metric} {score}. It is the cheapest ({cost}) that is shown to be at "
            f"most {margin:g} {side} the best{by}."
        )
    most = "" if chosen.loss is None else f", at most {at_most(chosen.loss, comparison.metric)} {side} the best{by}"
    return (
        f"Not settled: no group is shown to be at most {margin:g} {side} the best in {comparison.chooser} {metric}. "
        f"Until it is, choose {_described(chosen, cost)}: test {metric} {score}{most}."
    )


def _cost(row: Row, cost: Cost) -> str:
    """Returns what a group costs, as part of a sentence."""
    costs: dict[Cost, str] = {
        "time": f"{brief_duration(row.seconds)} a run",
        "memory": f"{row.memory / 1e6:.0f} MB of memory",
        "parameters": f"{row.trainable:,} parameters train",
        "inference": f"{row.total:,} parameters",
    }
    return costs[cost]


def _candidates(comparison: Comparison, pairs: AllPairs) -> list[str]:
    decision, sentences = comparison.decision, []
    if len(decision.loss) < 2:
        return []
    by = " in validation" if comparison.chooser == "validation" else ""
    best = next(row for row in comparison.rows if row.name in decision.candidates)
    if len(decision.candidates) > 1:
        sentences.append(f"May be the best{by}: {', '.join(decision.candidates)}.")
    elif best.name != decision.chosen:
        score = best.validation if by and best.validation is not None else best.scores[comparison.metric]
        sentences.append(f"The best{by} is {best.name}, with {shown(score, comparison.metric)}.")
    for other, behind in _better(decision, best.name, pairs).items():
        worse = [f"{name} by {bounded(by_how_much, comparison.metric)}" for name, by_how_much in behind.items()]
        sentences.append(f"Worse than {other}{by}: {', '.join(worse)}.")
    sentences.append("All of this holds with 95% confidence.")
    return [*sentences, "Test scores had no part in the choice."] if by else sentences


def _better(decision: Decision, best: str, pairs: AllPairs) -> dict[str, dict[str, Interval]]:
    """Returns by how much groups are worse than another one, by the name of that: the best where it is shown to be
    better, otherwise the one with the highest lower bound."""
    found: dict[str, dict[str, Interval]] = {}
    for name in decision.worse:
        rivals = [other for other in decision.loss if other != name]
        above = {other: bounds for other in rivals if (bounds := pairs.interval(other, name)) is not None}
        other = best if best in above and above[best].low > 0 else max(above, key=lambda rival: above[rival].low)
        found.setdefault(other, {})[name] = above[other]
    return found


def _scope(rows: Sequence[Row]) -> list[str]:
    """Says of what models, texts and budget the answer speaks."""
    found, kinds = [], {row.evidence for row in rows if row.evidence}
    if "texts" in kinds:
        found.append("With fewer than three seeds it is said of these trained models, not of their strategies.")
    elif "seeds and texts" in kinds and (few := _with_few_in_common(rows)):
        found.append(
            f"It is said of the trained models, not of their strategies, where two share fewer than three seeds: {few}."
        )
    if "seeds" in kinds:
        found.append("It is said of these test texts, since the scores of single texts are not known.")
    if still := [row.name for row in rows if row.improving and not row.undertrained]:
        after = [round(row.epochs) for row in rows if row.name in still]
        fewest = f"{min(after)} to " if min(after) < max(after) else ""
        epochs = fewest + counted(max(after), "epoch")
        found.append(f"At this budget: {joined(still)} {_were(still)} still improving after {epochs}.")
    return found


def _with_few_in_common(rows: Sequence[Row]) -> str:
    """Returns the pairs of groups whose difference is that of one or two seeds, whatever each shares with the
    baseline."""
    pairs = itertools.combinations(rows, 2)
    few = [(a.name, b.name) for a, b in pairs if 0 < len({*a.seeds} & {*b.seeds}) < FEW_SEEDS]
    return "; ".join(joined(pair) for pair in few)


def _were(names: Sequence[object]) -> str:
    return "was" if len(names) == 1 else "were"


def _settling(comparison: Comparison, folder: str) -> str:
    """Says what would settle an open question, the cheapest way first."""
    plan, decision = comparison.plan, comparison.decision
    if decision.sure or len(decision.loss) < 2:
        return ""
    if any(row.evidence == "folds" for row in comparison.rows):
        return _more_repeats(min(row.pairs for row in comparison.rows if row.evidence), folder)
    if plan is None:
        by_seeds = any(row.evidence == "seeds" for row in comparison.rows)
        wanted = MIN_SEEDS if by_seeds else FEW_SEEDS
        few = min(len(row.seeds) for row in comparison.rows) < wanted
        return f"Add seeds: {_more_seeds(comparison, wanted, folder)}." if few else ""
    if plan.seeds is not None:
        command = _more_seeds(comparison, plan.seeds, folder)
        return (
            f"What would settle it: {counted(plan.runs, 'run')} more, of {joined(plan.groups)} up to {plan.seeds} "
            f"seeds, about {duration(plan.seconds)} ({command})."
        )
    return _more_texts(plan, comparison.chooser)


def _more_repeats(repeats: int, folder: str) -> str:
    if repeats < REPEATS:
        place = shell_argument("hydra.sweep.dir", folder)
        return f"Add repeats: the same command with 'data.repeat=range(0,{REPEATS})' {place}."
    return "More texts with labels would settle it; more repeats hardly make the intervals narrower."


def _more_texts(plan: Plan, split: Chooser) -> str:
    if plan.texts is not None:
        return (
            f"More seeds will not settle it: about {rounded(plan.texts)} {split} texts would, for example by "
            "cross-validation (sweep=cross_validation), if there are so many texts with labels."
        )
    if plan.both is not None:
        seeds, texts = plan.both
        return (
            f"Neither more seeds nor more texts alone settle it: {seeds} seeds and {rounded(texts)} {split} texts "
            "would."
        )
    return "No number of runs that could be made would settle it: as far as they can tell these groups are equal."


def _more_seeds(comparison: Comparison, wanted: int, folder: str) -> str:
    """Returns the arguments that add the missing seeds of some groups, and new ones, to the sweep."""
    have = sorted({seed for row in comparison.rows for seed in row.seeds})
    missing = {seed for row in comparison.rows for seed in row.missing}
    new = range(max(have, default=0) + 1, max(have, default=0) + 1 + max(0, wanted - len(have)))
    seeds = sorted({*missing, *new}) or [max(have, default=0) + 1]
    return f"the same command with seed={','.join(map(str, seeds))} {shell_argument('hydra.sweep.dir', folder)}"


def learned(found: LearningCurves | None, metric: str) -> list[str]:
    """Returns where strategies cross, and what twice as many training texts should bring, in words."""
    if found is None:
        return []
    said = [
        f"Below about {rounded(crossing.texts)} training texts {crossing.below} is better than {crossing.above}, "
        "above that worse."
        for crossing in found.crossings
    ]
    if told := [f"{curve.name} to {bounded(curve.doubled, metric)}" for curve in found.curves if curve.doubled]:
        said.append(f"On these test texts, twice as many training texts should bring {', '.join(told)}.")
    unknown = [curve for curve in found.curves if curve.doubled is None]
    return said + [f"What more texts bring to {curve.name} cannot be said: {curve.reason}." for curve in unknown]
