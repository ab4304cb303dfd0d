"""Reads the runs of a sweep and puts those that differ in nothing but seed, fold and repeat into groups."""

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

from src.comparison.comparable import check_comparable
from src.config.monitor import sign
from src.config.values import flat
from src.errors import UserError, nearest, reason
from src.files.paths import user_path
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.runs.identity import IGNORED
from src.runs.results import monitored_value

TARGET = "_target_"  # the key with the class or function that a section instantiates


STRATEGY = "strategy"  # the column that represents the whole freeze section


COORDINATES = ("data.fold", "data.repeat")  # of a run in its group, like the seed


MODES = ("monitor.mode", "scheduler.schedule.mode")  # determined by the metric; configs of older runs contain them


@dataclass(frozen=True)
class Run:
    """A run in its folder: with its result, or with the reason why there is none."""

    folder: RunFolder
    values: Mapping[str, str]  # of the whole config, by dotted key, without seed, fold, repeat and folders
    strategy: str
    seed: int
    result: dict[str, Any] | None
    problem: str = ""

    def predictions(self, *columns: str) -> dict[str, list[Any]] | None:
        """Returns columns of the test predictions; None if there are no predictions.

        Raises:
            UserError: the file cannot be read or lacks a column.
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
        """Whether each test example is predicted correctly; None unless the task is binary or multiclass."""
        if self.result is None or self.result["objective"] not in ("binary", "multiclass"):
            return None
        found = self.predictions("true", "predicted")
        return np.array([true == predicted for true, predicted in zip(*found.values(), strict=True)]) if found else None


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
    def finished(self) -> dict[int, Run]:
        """The runs with a result, by seed."""
        return {run.seed: run for run in self.runs if run.result is not None}

    def values(self, *keys: str) -> dict[int, float]:
        """Returns one number of each finished run's result, by seed; `keys` is its path in result.json."""
        found: dict[int, float] = {}
        for seed, run in self.finished.items():
            value: Any = run.result
            for key in keys:
                value = value[key]
            found[seed] = float(value)
        return found


def read_runs(root: Path) -> list[Run]:
    """Returns all runs in a folder. The pretraining stage of a pretrain-then-classify run belongs to that run.

    Raises:
        UserError: there are none, or one has a config that cannot be read.
    """
    runs = [_read(folder) for folder in runs_in(root)]
    if not runs:
        found = "contains none" if root.is_dir() else "does not exist" if not root.exists() else "is not a folder"
        raise UserError(f"runs must be a folder that contains runs; {root} {found}.\nSweeps are in outputs/sweeps.")
    return runs


def _read(folder: RunFolder) -> Run:
    try:
        cfg = folder.saved_config()
    except UserError as error:
        raise UserError(f"{error}\nTo compare the other runs, move {folder.path} elsewhere.") from None
    values = _values(cfg)
    try:
        strategy = str(hydra.utils.instantiate(cfg.freeze).name)
    except (InstantiationException, AttributeError):  # the run has failed for this reason
        strategy = str(cfg.freeze.get("_target_", "none")).rpartition(".")[2]
    try:
        return Run(folder, values, strategy, int(cfg.seed), _full_result(folder))
    except UserError:
        return Run(folder, values, strategy, int(cfg.seed), None, folder.problem())


def _full_result(folder: RunFolder) -> dict[str, Any]:
    """Returns the result of a run; for pretrain-then-classify runs, the costs include the pretraining.

    Raises:
        UserError: the run, or its pretraining, has no result.
    """
    result, pretraining = folder.read_result(), RunFolder(folder.path / "pretrain")
    if pretraining.path.is_dir():
        first = pretraining.read_result()
        result["seconds"]["total"] += first["seconds"]["total"]
        flops = (result.get("operations"), first.get("operations"))
        result["operations"] = None if None in flops else sum(flops)
    return result


def _values(cfg: DictConfig) -> dict[str, str]:
    """Returns the whole config by dotted key, without seed, fold, repeat and folders. The path of a pretraining
    (`backbone.run`) is replaced by its config, so that runs with the same settings are one group even if each seed used
    its own pretraining."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    rest = {key: value for key, value in content.items() if key not in (*IGNORED, "seed", "logger", "callbacks")}
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in flat(rest)}
    values = {key: value for key, value in values.items() if not key.endswith(MODES) and key not in COORDINATES}
    for key in values:
        if key.endswith(f".{TARGET}"):
            values[key] = values[key].rpartition(".")[2]
    # Two sections without a `_target_`.
    if isinstance(backbone := content.get("backbone"), dict):
        values[f"backbone.{TARGET}"] = _backbone_title(backbone)
    values[f"pretrain.{TARGET}"] = "mlm first" if content.get("pretrain") else "no mlm"
    if pretrained := values.get("backbone.run"):
        try:
            pretraining = _values(RunFolder(user_path(pretrained)).saved_config())
        except UserError:  # it no longer exists
            return values
        del values["backbone.run"]
        values |= {f"backbone.run.{key}": value for key, value in pretraining.items()}
    return values


def _backbone_title(backbone: Mapping[str, Any]) -> str:
    """Returns the name of a backbone in the table."""
    if "run" in backbone or "hidden_size" in backbone:
        return "run" if "run" in backbone else "scratch"
    return str(backbone.get("name") or backbone.get("package"))


def group(runs: Sequence[Run], mixed: bool = False) -> list[Group]:
    """Groups the runs. The groups are sorted by their labels and do not depend on the order of the runs.

    Args:
        runs: at least one.
        mixed: allow runs with different data or devices.

    Raises:
        UserError: they have different data or devices, or several of a group have the same seed.
    """
    if not mixed:
        check_comparable(runs)
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
    """The mean of the monitored metric, negated if lower is better; minus infinity without a finished run."""
    metric = group.runs[0].values["monitor.metric"]
    results = [run.result for run in group.finished.values() if run.result]
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


def value_of(run: Run, column: str) -> str:
    """Returns what a column of the table shows for a run."""
    if column == STRATEGY:
        return run.strategy
    return run.values.get(f"{column}.{TARGET}", run.values.get(column, "-"))
