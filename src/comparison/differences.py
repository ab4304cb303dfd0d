"""How the predictions of groups differ: at all, per class and per text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.data.texts import shown
from src.grouping.groups import Group
from src.grouping.runs import Run

SHOWN = 40  # texts with a flipped prediction


@dataclass(frozen=True)
class Flip:
    """A test text that most runs of one group predict correctly and most runs of the other incorrectly."""

    row: int
    text: str
    true: str
    baseline: str  # predictions of the baseline's runs, the most frequent first
    group: str
    gained: bool  # the group is correct, the baseline is not


def _name(label: object) -> str:
    return ", ".join(map(str, label)) or "none" if isinstance(label, list) else str(label)


def _predictions(group: Group) -> list[dict[str, list[Any]]]:
    """Returns the predictions of each finished run, by column; empty if one has none, they are of different texts, or
    they are numbers, which are hardly ever the same."""
    if any(run.result and run.result["objective"] == "regression" for run in group.finished):
        return []
    found = [run.predictions("row", "text", "true", "predicted") for run in group.finished]
    whole = [columns for columns in found if columns]
    same = len({tuple(columns["row"]) for columns in whole}) == 1
    return whole if same and len(whole) == len(found) else []


def identical(group: Group, other: Group) -> bool:
    """Whether all runs of the two groups that share a seed, and a fold, predict the same for every test text."""
    mine, theirs = ({(run.block, run.fold): run for run in member.complete} for member in (group, other))
    pairs = [(mine[place], theirs[place]) for place in mine.keys() & theirs.keys()]
    return bool(pairs) and all(_same(*pair) for pair in pairs)


def _same(one: Run, other: Run) -> bool:
    first, second = (run.predictions("row", "text", "predicted") for run in (one, other))
    return first is not None and first == second


def by_class(groups: Sequence[Group]) -> dict[str, Mapping[str, float]]:
    """Returns the recall of each class over all runs of a group, by group and class."""
    result: dict[str, Mapping[str, float]] = {}
    for group in groups:
        hits, counts = Counter[str](), Counter[str]()
        for columns in _predictions(group):
            pairs = list(zip(columns["true"], columns["predicted"], strict=True))
            counts.update(_name(true) for true, _ in pairs)
            hits.update(_name(true) for true, predicted in pairs if true == predicted)
        if counts:
            result[group.name] = {label: hits[label] / counts[label] for label in sorted(counts)}
    return result


def most_different_classes(recalls: Mapping[str, Mapping[str, float]], most: int) -> list[str]:
    """Returns at most `most` classes, those whose recall differs most between groups first.

    Args:
        recalls: by group and class.
        most: the maximum number of classes.
    """
    found: dict[str, list[float]] = {}
    for by_name in recalls.values():
        for name, recall in by_name.items():
            found.setdefault(name, []).append(recall)
    widest = sorted(found, key=lambda name: (min(found[name]) - max(found[name]), min(found[name]), name))
    return widest[:most]


def flips(group: Group, baseline: Group) -> list[Flip]:
    """Returns the test texts that most runs of one group predict correctly and most of the other do not, the clearest
    first."""
    mine, theirs = _predictions(group), _predictions(baseline)
    if not mine or not theirs or mine[0]["row"] != theirs[0]["row"]:
        return []
    found = []
    texts = zip(*(mine[0][key] for key in ("row", "text", "true")), strict=True)
    for index, (row, text, true) in enumerate(texts):
        predicted = [[columns["predicted"][index] for columns in runs] for runs in (mine, theirs)]
        correct = [labels.count(true) / len(labels) for labels in predicted]  # fraction of the runs
        if min(correct) < 0.5 < max(correct):
            given = [_most_frequent(labels) for labels in predicted]
            flip = Flip(row, shown(text), _name(true), given[1], given[0], gained=correct[0] > 0.5)
            found.append((-abs(correct[0] - correct[1]), row, flip))
    return [flip for *_, flip in sorted(found, key=lambda item: item[:2])][:SHOWN]


def _most_frequent(labels: Iterable[object]) -> str:
    """Returns the predicted labels, the most frequent first, with their counts if they differ."""
    counts = Counter(_name(label) for label in labels)
    return ", ".join(f"{name} ({count})" if len(counts) > 1 else name for name, count in counts.most_common())
