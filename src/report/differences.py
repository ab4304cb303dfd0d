"""Where two groups of runs differ in their predictions: by class, and text by text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from src.report.groups import Group, Run

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


def _read(run: Run) -> list[dict[str, object]]:
    import pyarrow.parquet

    file = run.folder.path / "predictions" / "test.parquet"
    if not file.exists():
        return []
    rows: list[dict[str, object]] = pyarrow.parquet.read_table(
        file, columns=["row", "text", "true", "predicted"]
    ).to_pylist()
    return rows


def _name(label: object) -> str:
    return ", ".join(map(str, label)) or "none" if isinstance(label, list) else str(label)


def _predictions(group: Group) -> list[list[dict[str, object]]]:
    """Of each finished run; empty where any has none, or they are of different texts."""
    found = [_read(run) for run in group.finished.values()]
    same = len({tuple(row["row"] for row in rows) for rows in found}) == 1
    return found if same and all(found) else []


def by_class(groups: Sequence[Group]) -> dict[str, Mapping[str, float]]:
    """The share of each class's test texts that a group's runs have right, by group and class (recall)."""
    result: dict[str, Mapping[str, float]] = {}
    for group in groups:
        hits, counts = Counter[str](), Counter[str]()
        for rows in _predictions(group):
            counts.update(_name(row["true"]) for row in rows)
            hits.update(_name(row["true"]) for row in rows if row["true"] == row["predicted"])
        if counts:
            result[group.name] = {label: hits[label] / counts[label] for label in sorted(counts)}
    return result


def flips(group: Group, baseline: Group) -> list[Flip]:
    """The test texts on which most runs of the two groups disagree about being right, the clearest first."""
    mine, theirs = _predictions(group), _predictions(baseline)
    if not mine or not theirs or [r["row"] for r in mine[0]] != [r["row"] for r in theirs[0]]:
        return []
    found = []
    for index, row in enumerate(mine[0]):
        shares = [sum(rows[index]["predicted"] == row["true"] for rows in runs) / len(runs) for runs in (mine, theirs)]
        if (shares[0] > 0.5) != (shares[1] > 0.5):
            one, other = (_said(rows[index]["predicted"] for rows in runs) for runs in (theirs, mine))
            number, text, true = int(str(row["row"])), str(row["text"]), _name(row["true"])
            flip = Flip(number, text, true, one, other, gained=shares[0] > 0.5)
            found.append((-abs(shares[0] - shares[1]), flip.row, flip))
    return [flip for *_, flip in sorted(found, key=lambda item: item[:2])][:SHOWN]


def _said(labels: Iterable[object]) -> str:
    counts = Counter(_name(label) for label in labels)
    return ", ".join(f"{name} ({count})" if len(counts) > 1 else name for name, count in counts.most_common())
