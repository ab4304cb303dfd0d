"""Runs of a sweep, read back and put into groups that differ in nothing but the seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.errors import InstantiationException
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from src.comparison.alike import check_alike
from src.config.monitor import sign
from src.config.values import flat
from src.errors import UserError, nearest, reason
from src.files.paths import user_path
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.runs.identity import IGNORED
from src.runs.results import monitored_value

BUILT = "_target_"  # the key that says what a section builds


STRATEGY = "strategy"  # the column that stands for everything in the freeze section


MODES = ("monitor.mode", "scheduler.schedule.mode")  # which follow from the metric; older runs spell them out


@dataclass(frozen=True)
class Run:
    """A run as it is found: with its result, or with the reason why there is none."""

    folder: RunFolder
    values: Mapping[str, str]  # of the whole config, by dotted key, without seed and places
    strategy: str
    seed: int
    result: dict[str, Any] | None
    problem: str = ""

    def predictions(self, *columns: str) -> dict[str, list[Any]] | None:
        """Columns of the predictions for the test texts; None where there are none.

        Raises:
            UserError: the file is not as a run leaves it.
        """
        import pyarrow.parquet

        file = self.folder.path / "predictions" / "test.parquet"
        if not file.exists():
            return None
        try:
            table = pyarrow.parquet.read_table(file, columns=list(columns))
            return {name: table.column(name).to_pylist() for name in columns}
        except (OSError, KeyError, pyarrow.ArrowException) as error:
            raise UserError(
                f"{file} must hold the columns {', '.join(columns)}; it cannot be read: {reason(error)}.\n"
                "Copy the run folder again from where it was trained."
            ) from None

    def hits(self) -> NDArray[np.bool_] | None:
        """Which test rows it has right; None where rows have several labels or none."""
        if self.result is None or self.result["objective"] not in ("binary", "multiclass"):
            return None
        found = self.predictions("true", "predicted")
        return np.array([true == said for true, said in zip(*found.values(), strict=True)]) if found else None


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed.

    Args:
        name: the strategy, with the rest of the label where several groups have that strategy.
        label: what tells the group from the others, by column.
        runs: by seed, those without a result among them.
        tried: from how many groups it was chosen.
    """

    name: str
    label: Mapping[str, str]
    runs: Sequence[Run]
    tried: int = 1

    @property
    def finished(self) -> dict[int, Run]:
        """By seed."""
        return {run.seed: run for run in self.runs if run.result is not None}

    def values(self, *keys: str) -> dict[int, float]:
        """A number of each finished run's result, by seed."""
        found: dict[int, float] = {}
        for seed, run in self.finished.items():
            value: Any = run.result
            for key in keys:
                value = value[key]
            found[seed] = float(value)
        return found


def read_runs(root: Path) -> list[Run]:
    """All runs in a folder; the first half of a run in two halves belongs to that run.

    Raises:
        UserError: there are none, or one has a config that cannot be read.
    """
    runs = [_read(folder) for folder in runs_in(root)]
    if not runs:
        found = "has none" if root.is_dir() else "is not there" if not root.exists() else "is no folder"
        raise UserError(f"runs must be a folder with runs in it; {root} {found}.\nSweeps are in outputs/sweeps.")
    return runs


def _read(folder: RunFolder) -> Run:
    try:
        cfg = folder.saved_config()
    except UserError as error:
        raise UserError(f"{error}\nTo compare the other runs, move {folder.path} away.") from None
    values = _values(cfg)
    try:
        strategy = str(hydra.utils.instantiate(cfg.freeze).name)
    except (InstantiationException, AttributeError):  # the run has failed for this reason
        strategy = str(cfg.freeze.get("_target_", "none")).rpartition(".")[2]
    try:
        return Run(folder, values, strategy, int(cfg.seed), _whole(folder))
    except UserError:
        return Run(folder, values, strategy, int(cfg.seed), None, folder.problem())


def _whole(folder: RunFolder) -> dict[str, Any]:
    """The result of a run; where it was made in two halves, with what the first one cost.

    Raises:
        UserError: a half has no result.
    """
    result, half = folder.read_result(), RunFolder(folder.path / "pretrain")
    if half.path.is_dir():
        first = half.read_result()
        result["seconds"]["total"] += first["seconds"]["total"]
        parts = (result.get("operations"), first.get("operations"))
        result["operations"] = None if None in parts else sum(parts)
    return result


def _values(cfg: DictConfig) -> dict[str, str]:
    """The whole config by dotted key, without seed and places. The run that a backbone comes from is a place too: what
    counts is how it was trained, so that each seed may have a pretraining of its own."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    rest = {key: value for key, value in content.items() if key not in (*IGNORED, "seed", "logger", "callbacks")}
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flat(rest)}
    values = {key: value for key, value in values.items() if not key.endswith(MODES)}
    for key in values:
        if key.endswith(f".{BUILT}"):
            values[key] = values[key].rpartition(".")[2]
    # Two sections that have no target.
    if isinstance(backbone := content.get("backbone"), dict):
        values[f"backbone.{BUILT}"] = _kind(backbone)
    values[f"pretrain.{BUILT}"] = "mlm first" if content.get("pretrain") else "no mlm"
    if began_with := values.get("backbone.run"):
        try:
            before = _values(RunFolder(user_path(began_with)).saved_config())
        except UserError:  # it is no longer there
            return values
        del values["backbone.run"]
        values |= {f"backbone.run.{key}": value for key, value in before.items()}
    return values


def _kind(backbone: Mapping[str, Any]) -> str:
    """What the table calls a backbone."""
    if "run" in backbone or "hidden_size" in backbone:
        return "run" if "run" in backbone else "scratch"
    return str(backbone.get("name") or backbone.get("package"))


def group(runs: Sequence[Run], mixed: bool = False) -> list[Group]:
    """The groups, ordered by what tells them apart; any order of the runs gives the same.

    Args:
        runs: at least one.
        mixed: compare runs of different data or devices as well.

    Raises:
        UserError: they have different data or devices, or several of a group have the same seed.
    """
    if not mixed:
        check_alike(runs)
    columns = _columns(runs)
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(tuple(value_of(run, column) for column in columns), []).append(run)
    groups = []
    for label in sorted(found):
        members = sorted(found[label], key=lambda run: run.seed)
        seeds = [run.seed for run in members if run.result is not None]
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise UserError(
                f"Runs of a group must have different seeds; {', '.join(label)} has seed {twice[0]} twice:\n"
                + "\n".join(str(run.folder.path) for run in members if run.seed == twice[0])
            )
        strategy, *rest = label
        alone = [other[0] for other in found].count(strategy) == 1
        name = strategy if alone else f"{strategy} ({', '.join(rest)})"
        groups.append(Group(name, dict(zip(columns, label, strict=True)), members))
    return groups


def best_of(groups: Sequence[Group], by: str) -> list[Group]:
    """For each value of a column, the group that has it and came to the best mean of the monitored validation score.
    Runs without a result stay with those that were chosen instead.

    Raises:
        UserError: there is no such column.
    """
    column = STRATEGY if by == "freeze" else by
    if column not in groups[0].label:
        names = ["freeze", *(name for name in groups[0].label if name != STRATEGY)]
        raise UserError(f"by must be something in which these runs differ; got {by}.\n{nearest(by, names)}")
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
    """The mean of the monitored score, turned so that more is better; minus infinity without a finished run."""
    metric = group.runs[0].values["monitor.metric"]
    results = [run.result for run in group.finished.values() if run.result]
    values = [value for result in results if (value := monitored_value(result, metric)) is not None]
    return sign(metric) * float(np.mean(values)) if values else -math.inf


def _columns(runs: Sequence[Run]) -> list[str]:
    """Strategies first, then sections that build different things, then values that differ between runs in which the
    sections around them build the same."""
    keys = sorted({key for run in runs for key in run.values if not key.startswith("freeze.")})
    sections = [key.removesuffix(f".{BUILT}") for key in keys if key.endswith(f".{BUILT}")]
    rest = [key for key in keys if not key.endswith(f".{BUILT}") and key not in sections]
    return [STRATEGY, *(column for column in (*sections, *rest) if _differs(runs, column, sections))]


def _differs(runs: Sequence[Run], column: str, sections: Sequence[str]) -> bool:
    around = [section for section in sections if column.startswith(f"{section}.")]
    found: dict[tuple[str, ...], set[str]] = {}
    for run in runs:
        found.setdefault(tuple(value_of(run, section) for section in around), set()).add(value_of(run, column))
    return any(len(values) > 1 for values in found.values())


def value_of(run: Run, column: str) -> str:
    if column == STRATEGY:
        return run.strategy
    return run.values.get(f"{column}.{BUILT}", run.values.get(column, "-"))
