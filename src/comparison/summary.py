"""The answer of a comparison in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.comparison.rows import UNDERTRAINED, Row
from src.comparison.settling import Plan
from src.comparison.verdicts import seeds_needed
from src.config.quoting import shell_argument
from src.freezing.strategy import percent

if TYPE_CHECKING:
    from src.comparison.comparison import Comparison

FEW_SEEDS = 3  # from which new seeds and new texts can be told apart


COSTS = {
    "time": "{0.seconds:.0f} s a run",
    "memory": "{0.memory:,.0f} bytes of memory",
    "parameters": "{0.trainable:,} parameters train",
    "inference": "{0.total:,} parameters",
}


def summarise(comparison: Comparison, folder: str) -> str:
    """Returns the answer in words, with the evidence for it.

    Args:
        comparison: without its sentence.
        folder: of the runs.
    """
    rows, decision = comparison.rows, comparison.decision
    metric = comparison.metric.replace("_", " ")
    if len(rows) == 1:
        return (
            f"{_described(rows[0])} has a test {metric} of {_score(rows[0], comparison.metric)}. There is no other "
            f"group to compare it with.{_alone(rows[0])}"
        )
    sentences = [*_undertrained(rows)]
    if decision.chosen is None:
        return " ".join(sentences)
    sentences += [_choice(comparison, metric), *_candidates(comparison), *_scope(rows)]
    if settling := _settling(comparison, folder):
        sentences.append(settling)
    return " ".join(sentences)


def _score(row: Row, metric: str) -> str:
    count = len(row.seeds)
    return f"{row.scores[metric]:.3f} " + ("with 1 seed" if count == 1 else f"on average over {count} seeds")


def _alone(row: Row) -> str:
    return f" It was {UNDERTRAINED}: try {row.undertrained}." if row.undertrained else ""


def _described(row: Row) -> str:
    trains = f"{'all' if row.share == 1 else percent(row.share) + ' of the'} weights train"
    return f"{row.name[:-1]}; {trains})" if row.name.endswith(")") else f"{row.name} ({trains})"


def _undertrained(rows: Sequence[Row]) -> list[str]:
    """Says which groups were not trained to the end, before anything else."""
    found = [row for row in rows if row.undertrained]
    if not found:
        return []
    names = listed([row.name for row in found]) if len(found) < len(rows) else "No group"
    was = "was" if len(found) in (1, len(rows)) else "were"
    not_ = "" if len(found) == len(rows) else "not "
    steps = max(row.steps for row in found)
    return [
        f"{names} {was} {not_}trained to the end: the last epoch was the best, the training loss was still falling, "
        f"after at most {steps:.0f} steps. Their scores say how fast they learn, so nothing is concluded from them; "
        f"try {found[0].undertrained}."
    ]


def _choice(comparison: Comparison, metric: str) -> str:
    decision, margin = comparison.decision, comparison.margin
    chosen = next(row for row in comparison.rows if row.name == decision.chosen)
    score, cost = _score(chosen, comparison.metric), COSTS[comparison.cost].format(chosen)
    if len(decision.loss) == 1:
        return f"Only {_described(chosen)} was trained to the end: test {metric} {score}."
    if decision.candidates == [decision.chosen]:
        return f"Choose {_described(chosen)}: test {metric} {score}, the best ({cost})."
    if decision.sure:
        return (
            f"Choose {_described(chosen)}: test {metric} {score}. It is the cheapest ({cost}) that is shown to be at "
            f"most {margin:g} below the best."
        )
    most = "" if chosen.loss is None else f", at most {chosen.loss:.3f} below the best"
    return (
        f"Not settled: no group is shown to be at most {margin:g} below the best in test {metric}. Until it is, choose "
        f"{_described(chosen)}, the cheapest that may be the best ({cost}): {score}{most}."
    )


def _candidates(comparison: Comparison) -> list[str]:
    decision, scores = comparison.decision, {row.name: row.scores[comparison.metric] for row in comparison.rows}
    if len(decision.loss) < 2:
        return []
    best, sentences = max(scores[name] for name in decision.loss), []
    if len(decision.candidates) > 1:
        sentences.append(f"May be the best: {', '.join(decision.candidates)}.")
    elif decision.candidates != [decision.chosen]:
        sentences.append(f"The best is {decision.candidates[0]}, with {best:.3f}.")
    if worse := [f"{name} by {best - scores[name]:.3f}" for name in decision.worse if name != decision.chosen]:
        sentences.append(f"Worse than the best: {', '.join(worse)}.")
    return [*sentences, "All of this holds with 95% confidence."]


def _scope(rows: Sequence[Row]) -> list[str]:
    """Says of what models, texts and budget the answer speaks."""
    found, kinds = [], {row.evidence for row in rows if row.evidence}
    if "texts" in kinds:
        found.append("With one seed it is said of these trained models, not of their strategies.")
    if "seeds" in kinds:
        found.append("It is said of these test texts, since the scores of single texts are not known.")
    if still := [row.name for row in rows if row.improving and not row.undertrained]:
        epochs = max(row.epochs for row in rows if row.name in still)
        found.append(f"At this budget: {listed(still)} {_were(still)} still improving after {epochs:.0f} epochs.")
    return found


def _were(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def listed(names: Sequence[str]) -> str:
    """Returns names as part of a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _settling(comparison: Comparison, folder: str) -> str:
    """Says what would settle an open question, the cheapest way first."""
    plan, decision = comparison.plan, comparison.decision
    if decision.sure or len(decision.loss) < 2:
        return ""
    if any(row.evidence == "folds" for row in comparison.rows):
        return "More texts with labels would settle it; more repeats hardly make the intervals narrower."
    if plan is None:
        by_seeds = any(row.evidence == "seeds" for row in comparison.rows)
        wanted = seeds_needed(len(comparison.rows) - 1) if by_seeds else FEW_SEEDS
        few = min(len(row.seeds) for row in comparison.rows) < wanted
        return f"Add seeds: {_more_seeds(comparison, wanted, folder)}." if few else ""
    if plan.seeds is not None:
        minutes = max(1, round(plan.seconds / 60))
        command = _more_seeds(comparison, plan.seeds, folder)
        return (
            f"What would settle it: {_counted(plan.runs, 'run')} more, of {listed(plan.groups)} up to {plan.seeds} "
            f"seeds, about {_counted(minutes, 'minute')} ({command})."
        )
    return _more_texts(plan, decision.chosen or "")


def _more_texts(plan: Plan, chosen: str) -> str:
    if plan.texts is None:
        return f"Neither more seeds nor more texts would settle it: they are equal at this margin; take {chosen}."
    rounded = float(f"{plan.texts:.2g}")
    return (
        f"More seeds will not settle it: about {rounded:,.0f} test texts would, for example by cross-validation "
        "(sweep=cross_validation), if there are so many texts with labels."
    )


def _more_seeds(comparison: Comparison, wanted: int, folder: str) -> str:
    """Returns the arguments that add seeds to the sweep."""
    have = {seed for row in comparison.rows for seed in row.seeds}
    first = max(have, default=0) + 1
    seeds = range(first, first + max(1, wanted - len(have)))
    return f"the same command with seed={','.join(map(str, seeds))} {shell_argument('hydra.sweep.dir', folder)}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
