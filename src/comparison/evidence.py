"""What a comparison stands on: for each pair of groups a table of differences, seeds by texts, or the differences of
folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from src.arrays import NDArray
from src.config.monitor import sign
from src.data.texts import Text, sides
from src.grouping.groups import Group
from src.grouping.runs import Block, Run
from src.statistics import number_influence
from src.statistics.crossed import by_unit, crossed
from src.statistics.estimate import Estimate
from src.statistics.influence import contributions
from src.statistics.resampled import resampled
from src.statistics.units import units

MIN_SEEDS = 6  # with fewer seeds and nothing known of the texts, no sign-flip test can reach 0.05: 2 of 2**n patterns


# With two seeds, the variance between seeds is often small by chance, and claims about new seeds are then too many: of
# six groups whose seeds differ strongly, one in three experiments had a false one. So two seeds are taken as they are.
FEW_SEEDS = 3


Kind = Literal["seeds and texts", "texts", "seeds", "folds"]
Chooser = Literal["validation", "test"]  # the split whose scores choose a group
Scores = Float[NDArray[np.float64], " texts"]


@dataclass(frozen=True)
class Evidence:
    """The scores of some groups, text by text. Errors, which are better when lower, are negative here, so that higher
    is better in whatever follows from it.

    Args:
        scores: without folds: of each text, by group and block; their mean is the score of the block. Empty for a group
            whose runs have no predictions of these texts, or with a metric that is no sum over texts.
        totals: the score of each block, by group.
        units: the number of the unit of each text; near copies are one unit.
        folds: of the cross-validation; 1 without.
        runs: with folds: the score of each run, by group, block and fold.
        unread: runs without predictions of these texts, where others have them; `scores` is empty for their groups.
    """

    scores: Mapping[str, Mapping[Block, Scores]]
    totals: Mapping[str, Mapping[Block, float]]
    units: Int[NDArray[np.int64], " texts"] | None
    folds: int = 1
    runs: Mapping[str, Mapping[tuple[Block, int], float]] = field(default_factory=dict)
    unread: Sequence[Run] = ()

    def shared(self, one: str, other: str) -> list[Block]:
        """The blocks that both groups have, by which they are paired."""
        return sorted(self.totals[one].keys() & self.totals[other].keys())

    def kind(self, one: str, other: str) -> Kind:
        """What the estimate of their difference draws anew."""
        if self.folds > 1:
            return "folds"
        if not self.scores[one] or not self.scores[other]:
            return "seeds"
        return "texts" if len(self.shared(one, other)) < FEW_SEEDS else "seeds and texts"

    def difference(self, one: str, other: str) -> Estimate | None:
        """Returns by how much the first group is higher; None where nothing can be estimated, or only few seeds have
        something in common."""
        blocks = self.shared(one, other)
        if not blocks:
            return None
        if self.folds > 1:
            # The training texts of folds overlap, which a table of repeats and texts knows nothing of.
            mine, theirs = self.runs[one], self.runs[other]
            return resampled(np.array([mine[run] - theirs[run] for run in mine if run in theirs]), self.folds)
        if self.kind(one, other) == "seeds":
            found = np.array([self.totals[one][block] - self.totals[other][block] for block in blocks])
            return _of_seeds(found) if len(blocks) >= MIN_SEEDS else None
        first, second = self.scores[one], self.scores[other]
        return self._crossed(np.array([first[block] - second[block] for block in blocks]))

    def mean(self, name: str) -> Estimate | None:
        """Returns the mean score of a group; None where nothing can be estimated."""
        if self.folds > 1:
            return resampled(np.array(list(self.runs[name].values())), self.folds)
        if not self.scores[name]:
            return _of_seeds(np.array(list(self.totals[name].values())))
        return self._crossed(np.array(list(self.scores[name].values())))

    def _crossed(self, table: Float[NDArray[np.float64], "blocks texts"]) -> Estimate | None:
        if len(table) < FEW_SEEDS:
            table = table.mean(0, keepdims=True)
        return crossed(table if self.units is None else by_unit(table, self.units))


def _of_seeds(values: Float[NDArray[np.float64], " seeds"]) -> Estimate | None:
    """Returns the mean with the standard error of a new sample of seeds on the same texts; None without spread."""
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    return Estimate(float(values.mean()), float(stats.sem(values)), float(len(values) - 1))


def choosing(groups: Sequence[Group], metric: str, tested: Evidence) -> tuple[Chooser, Evidence]:
    """Returns which split chooses among groups, with its evidence.

    Validation does, so that the test scores of what is chosen had no part in the choice. Test does where validation has
    chosen already (the best of several trials of each group), where each text is a test text once (folds), and where
    runs have no predictions of validation texts.

    Args:
        groups: with at least one result each.
        metric: the score that decides.
        tested: the evidence of the test texts.

    Raises:
        UserError: a file of predictions cannot be read.
    """
    results = [run.result for group in groups for run in group.complete if run.result]
    measured = all((result["metrics"].get("validation") or {}).get(metric) is not None for result in results)
    if tested.folds > 1 or max(group.tried for group in groups) > 1 or not measured:
        return "test", tested
    found = gather(groups, metric, "validation")
    return ("validation", found) if all(found.scores.values()) else ("test", tested)


def gather(groups: Sequence[Group], metric: str, split: Chooser = "test") -> Evidence:
    """Reads the predictions of all finished runs.

    Args:
        groups: with at least one result each.
        metric: the score to compare.
        split: of which texts.

    Raises:
        UserError: a file of predictions cannot be read.
    """
    totals = {group.name: _signed(group.values("metrics", split, metric), metric) for group in groups}
    folds = max(run.folds for group in groups for run in group.complete)
    if folds > 1:  # single texts do not matter
        return Evidence({}, totals, None, folds, {group.name: _by_fold(group, metric, split) for group in groups})
    found = {group.name: _blocks(group, metric, split) for group in groups}
    texts = next((texts for blocks in found.values() for texts, _ in blocks.values()), None)
    if texts is None:
        return Evidence({name: {} for name in found}, totals, None)
    scores: dict[str, dict[Block, Scores]] = {}
    unread: list[Run] = []
    for group in groups:
        blocks = {block: values for block, (other, values) in found[group.name].items() if other == texts}
        missing = [run for block, (run,) in group.blocks.items() if block not in blocks]
        scores[group.name] = {} if missing else blocks
        unread += missing
    return Evidence(scores, totals, units(*sides([text for _, text in texts])), unread=unread)


def _signed(values: Mapping[Block, float], metric: str) -> dict[Block, float]:
    return {block: sign(metric) * value for block, value in values.items()}


def _by_fold(group: Group, metric: str, split: str) -> dict[tuple[Block, int], float]:
    return {
        (block, run.fold): sign(metric) * float(run.result["metrics"][split][metric])
        for block, runs in group.blocks.items()
        for run in runs
        if run.result
    }


Texts = list[tuple[Any, Text]]


def _blocks(group: Group, metric: str, split: str) -> dict[Block, tuple[Texts, Scores]]:
    """Returns the texts of each run with their scores, in one order for all runs."""
    found = {}
    for block, (run,) in group.blocks.items():
        if (part := _scores(run, metric, split)) is not None:
            texts, scores = part
            order = sorted(range(len(texts)), key=texts.__getitem__)
            found[block] = ([texts[index] for index in order], scores[order])
    return found


def _scores(run: Run, metric: str, split: str) -> tuple[Texts, Scores] | None:
    """Returns the texts of a run with what each contributes to the score; None without predictions, or if the
    score is no sum over texts."""
    result = run.result
    if result is None:
        return None
    numeric = result["objective"] == "regression"
    names = ("row", "text", "true", "predicted", *(() if numeric else ("probabilities",)))
    columns = run.predictions(*names, split=split)
    if columns is None:
        return None
    scores = _of_numbers(columns, metric) if numeric else _of_labels(result, columns, metric)
    reported = result["metrics"][split][metric]
    if scores is None or not math.isclose(float(scores.mean()), reported, rel_tol=1e-4, abs_tol=1e-3):
        return None  # measured by the rule of another version
    return list(zip(columns["row"], columns["text"], strict=True)), sign(metric) * scores


def _of_labels(result: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], metric: str) -> Scores | None:
    labels, several = result["labels"], result["objective"] == "multilabel"
    true, predicted = (_indices(columns[side], labels, several) for side in ("true", "predicted"))
    return contributions(metric, np.array(columns["probabilities"]), true, predicted, result["objective"])


def _of_numbers(columns: Mapping[str, Sequence[Any]], metric: str) -> Scores | None:
    true, predicted = (np.array(columns[side], dtype=np.float64) for side in ("true", "predicted"))
    return number_influence.contributions(metric, predicted, true)


def _indices(column: Sequence[Any], labels: Sequence[str], several: bool) -> NDArray[np.int64]:
    """Returns label indices, or 0 and 1 per label where a text may have several."""
    numbers = {label: number for number, label in enumerate(labels)}
    if not several:
        return np.array([numbers[name] for name in column], dtype=np.int64)
    found = np.zeros((len(column), len(labels)), dtype=np.int64)
    for row, names in enumerate(column):
        found[row, [numbers[name] for name in names]] = 1
    return found
