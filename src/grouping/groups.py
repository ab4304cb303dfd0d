"""Groups of runs that differ in nothing but the seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.config.monitor import sign
from src.errors import UserError, nearest
from src.grouping.runs import STRATEGY, TARGET, Block, Run, value_of
from src.runs.results import monitored_value


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed.

    Args:
        name: the strategy, with the rest of the label where several groups have that strategy.
        label: what distinguishes the group from the others, by column.
        runs: in order of their seeds, including those without a result.
        tried: the number of groups that it was chosen from.
    """

    name: str
    label: Mapping[str, str]
    runs: Sequence[Run]
    tried: int = 1

    @property
    def finished(self) -> list[Run]:
        """The runs with a result."""
        return [run for run in self.runs if run.result is not None]

    @property
    def blocks(self) -> dict[Block, list[Run]]:
        """The finished runs by block, in order of their folds; only blocks of which every fold has finished."""
        found: dict[Block, list[Run]] = {}
        for run in sorted(self.finished, key=lambda run: (run.block, run.fold)):
            found.setdefault(run.block, []).append(run)
        return {block: runs for block, runs in found.items() if len(runs) == runs[0].folds}

    @property
    def complete(self) -> list[Run]:
        """The runs of all blocks."""
        return [run for runs in self.blocks.values() for run in runs]

    def values(self, *keys: str) -> dict[Block, float]:
        """Returns one number of the results by block, the mean over its folds; `keys` is its path in result.json."""
        return {
            block: float(np.mean([_number_at(run.result, keys) for run in runs])) for block, runs in self.blocks.items()
        }


def _number_at(node: Any, keys: Sequence[str]) -> float:
    """Returns a number of a result; `keys` is its path in result.json."""
    for key in keys:
        node = node[key]
    return float(node)


def group(runs: Sequence[Run]) -> list[Group]:
    """Groups the runs. The groups are sorted by their labels and do not depend on the order of the runs.

    Args:
        runs: at least one.

    Raises:
        UserError: several of a group have the same seed.
    """
    columns = _columns(runs)
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(tuple(value_of(run, column) for column in columns), []).append(run)
    groups = []
    for label in sorted(found):
        members = sorted(found[label], key=lambda run: (run.block, run.fold))
        _refuse_twins(members, ", ".join(label))
        strategy, *rest = label
        alone = [other[0] for other in found].count(strategy) == 1
        name = strategy if alone else f"{strategy} ({', '.join(rest)})"
        groups.append(Group(name, dict(zip(columns, label, strict=True)), members))
    return groups


def _refuse_twins(members: Sequence[Run], label: str) -> None:
    """
    Raises:
        UserError: two finished runs of a group have the same seed, repeat and fold.
    """
    seen: dict[tuple[Block, int], Run] = {}
    for run in members:
        if run.result is None:
            continue
        if twin := seen.get((run.block, run.fold)):
            folds = f", repeat {run.block.repeat} and fold {run.fold}" if run.folds > 1 else ""
            raise UserError(
                f"Runs of a group must have different seeds{' or folds' if folds else ''}; {label} has seed {run.seed}"
                f"{folds} twice:\n{twin.folder.path}\n{run.folder.path}\nMove one of them elsewhere."
            )
        seen[run.block, run.fold] = run


def best_of(groups: Sequence[Group], by: str) -> list[Group]:
    """Returns, for each value of a column, the group with the best mean of the monitored validation metric. Failed runs
    of the other groups are added to it, so that they are still reported.

    Raises:
        UserError: there is no such column.
    """
    column = STRATEGY if by == "freeze" else by
    if column not in groups[0].label:
        names = ["freeze", *(name for name in groups[0].label if name != STRATEGY)]
        raise UserError(f"by must be a column in which these runs differ; got {by}.\n{nearest(by, names)}")
    found: dict[str, list[Group]] = {}
    for member in groups:
        found.setdefault(member.label[column], []).append(member)
    chosen = []
    for value, members in found.items():
        best = max(members, key=_validation)
        failed = [run for member in members if member is not best for run in member.runs if run.result is None]
        chosen.append(Group(value, best.label, [*best.runs, *failed], len(members)))
    return chosen


def _validation(group: Group) -> float:
    """The mean of the monitored metric, negated if lower is better; minus infinity without a run to compare."""
    metric = group.runs[0].values["monitor.metric"]
    results = [run.result for run in group.complete if run.result]
    values = [value for result in results if (value := monitored_value(result, metric)) is not None]
    return sign(metric) * float(np.mean(values)) if values else -math.inf


def _columns(runs: Sequence[Run]) -> list[str]:
    """The strategy first, then sections with different targets, then values that differ between runs whose enclosing
    sections have the same target."""
    keys = sorted({key for run in runs for key in run.values if not key.startswith("freeze.")})
    sections = [key.removesuffix(f".{TARGET}") for key in keys if key.endswith(f".{TARGET}")]
    rest = [key for key in keys if not key.endswith(f".{TARGET}") and key not in sections]
    return [STRATEGY, *(column for column in (*sections, *rest) if _differs(runs, column, sections))]


def _differs(runs: Sequence[Run], column: str, sections: Sequence[str]) -> bool:
    enclosing = [section for section in sections if column.startswith(f"{section}.")]
    found: dict[tuple[str, ...], set[str]] = {}
    for run in runs:
        found.setdefault(tuple(value_of(run, section) for section in enclosing), set()).add(value_of(run, column))
    return any(len(values) > 1 for values in found.values())
