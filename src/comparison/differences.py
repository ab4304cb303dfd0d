"""Where two groups of runs differ in their predictions: by class, and text by text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.comparison.groups import Group

SHOWN = 40  # texts whose prediction flips


@dataclass(frozen=True)
class Flip:
    """A test text that most runs of one group have right and most runs of the other have wrong."""

    row: int
    text: str
    true: str
    baseline: str  # what the baseline's runs said, most often first
    group: str
    gained: bool  # the group has it right


def _name(label: object) -> str:
    return ", ".join(map(str, label)) or "none" if isinstance(label, list) else str(label)


def _predictions(group: Group) -> list[dict[str, list[Any]]]:
    """Of each finished run, by column; empty where any has none, or they are of different texts."""
    found = [run.predictions("row", "text", "true", "predicted") for run in group.finished.values()]
    whole = [columns for columns in found if columns]
    same = len({tuple(columns["row"]) for columns in whole}) == 1
    return whole if same and len(whole) == len(found) else []


def by_class(groups: Sequence[Group]) -> dict[str, Mapping[str, float]]:
    """The share of each class's test texts that a group's runs have right, by group and class (recall)."""
    result: dict[str, Mapping[str, float]] = {}
    for group in groups:
        hits, counts = Counter[str](), Counter[str]()
        for columns in _predictions(group):
            pairs = list(zip(columns["true"], columns["predicted"], strict=True))
            counts.update(_name(true) for true, _ in pairs)
            hits.update(_name(true) for true, said in pairs if true == said)
        if counts:
            result[group.name] = {label: hits[label] / counts[label] for label in sorted(counts)}
    return result


def telling_classes(shares: Mapping[str, Mapping[str, float]], most: int) -> list[str]:
    """The classes in order; of more than `most`, those in which groups differ most.

    Args:
        shares: by group and class.
        most: how many there is room for.
    """
    found: dict[str, list[float]] = {}
    for mine in shares.values():
        for name, share in mine.items():
            found.setdefault(name, []).append(share)
    if len(found) <= most:
        return list(found)
    widest = sorted(found, key=lambda name: (min(found[name]) - max(found[name]), min(found[name]), name))
    return sorted(widest[:most])


def flips(group: Group, baseline: Group) -> list[Flip]:
    """The test texts on which most runs of the two groups disagree about being right, the clearest first."""
    mine, theirs = _predictions(group), _predictions(baseline)
    if not mine or not theirs or mine[0]["row"] != theirs[0]["row"]:
        return []
    found = []
    texts = zip(*(mine[0][key] for key in ("row", "text", "true")), strict=True)
    for index, (row, text, true) in enumerate(texts):
        said = [[columns["predicted"][index] for columns in runs] for runs in (mine, theirs)]
        shares = [labels.count(true) / len(labels) for labels in said]
        if min(shares) < 0.5 < max(shares):
            flip = Flip(row, text, _name(true), _said(said[1]), _said(said[0]), gained=shares[0] > 0.5)
            found.append((-abs(shares[0] - shares[1]), row, flip))
    return [flip for *_, flip in sorted(found, key=lambda item: item[:2])][:SHOWN]


def _said(labels: Iterable[object]) -> str:
    counts = Counter(_name(label) for label in labels)
    return ", ".join(f"{name} ({count})" if len(counts) > 1 else name for name, count in counts.most_common())
