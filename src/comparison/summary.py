"""The answer of a comparison in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.comparison import statistics
from src.config.quoting import shell_argument
from src.freezing.strategy import percent

if TYPE_CHECKING:
    from src.comparison.comparison import Row

# The verdicts in the summary sentence.
WORDS = {
    "superior": "better",
    "non-inferior": "as good",
    "inferior": "worse",
    "inconclusive": "not clear which of them is better",
}


def summarise(rows: Sequence[Row], baseline: str, metric: str, margin: float, folder: str) -> str:
    """Returns the answer in words, with the evidence for it."""
    best, what = rows[0], metric.replace("_", " ")
    base = next(row for row in rows if row.name == baseline)
    score = f"{best.scores[metric]:.3f} {_seeds(best)}"
    if len(rows) == 1:
        return f"{_described(best)} has a test {what} of {score}. There is no other group to compare it with."
    equal = [row.name for row in rows[1:] if row.scores[metric] == best.scores[metric]]
    tied = f", tied with {' and '.join(equal)}" if equal else ""
    sentences = [f"{_described(best)} has the highest test {what}, {score}{tied}."]
    cheap = [row for row in rows if row.time_ratio and row.time_ratio < 0.8 and row.difference is not None]
    mentioned = [best] if best is not base and best.difference is not None else []
    if mentioned:
        sentences.append(
            f"Paired by seed, the difference to {_described(base)} is {best.difference:+.3f}: {_meaning(best)}."
        )
    elif best is not base:
        sentences.append(f"It has no seed in common with {baseline}, so their difference is unknown.")
    if cheap and (faster := max(cheap, key=lambda row: row.difference or 0)) is not best and faster.time_ratio:
        mentioned.append(faster)
        sentences.append(
            f"{_described(faster)} reaches {faster.scores[metric]:.3f} ({faster.difference:+.3f}: {_meaning(faster)}) "
            f"in {faster.time_ratio:.0%} of the time of {baseline}."
        )
    fewest = min(mentioned or rows, key=lambda row: row.pairs)
    if fewest.pairs < statistics.MIN_SEEDS:
        sentences.append(_more_seeds(fewest, base, statistics.seeds_needed(len(rows) - 1), folder))
    else:
        sentences.append(
            f"Better: significantly higher; as good: at most {margin:g} lower; worse: more than {margin:g} lower "
            "(95% confidence)."
        )
    return " ".join(sentences)


def _more_seeds(row: Row, base: Row, needed: int, folder: str) -> str:
    """Returns which seeds are missing for a significance test, and how to add them to the sweep."""
    paired = set(row.seeds) & set(base.seeds)
    first = max(paired, default=0) + 1
    seeds = range(first, first + needed - len(paired))
    named = f"seed {first}" if len(seeds) == 1 else f"seeds {first} to {seeds[-1]}"
    arguments = f"seed={','.join(map(str, seeds))} {shell_argument('hydra.sweep.dir', folder)}"
    return f"Too few seeds for a significance test: add {named} (the same command with {arguments})."


def _described(row: Row) -> str:
    trains = f"{'all' if row.share == 1 else percent(row.share) + ' of the'} weights train"
    return f"{row.name[:-1]}; {trains})" if row.name.endswith(")") else f"{row.name} ({trains})"


def _meaning(row: Row) -> str:
    return WORDS.get(row.verdict, "too few seeds to say")


def _seeds(row: Row) -> str:
    return "with 1 seed" if len(row.seeds) == 1 else f"on average over {len(row.seeds)} seeds"
