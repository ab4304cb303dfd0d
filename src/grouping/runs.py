"""The runs in a folder, with their configs and results."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from src.config.folder import CONF
from src.config.values import flat
from src.data.texts import COLUMNS, from_columns
from src.errors import UserError, reason
from src.files.paths import user_path
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.runs.identity import IGNORED
from src.runs.saved_config import as_read, is_built

TARGET = "_target_"  # the key with the class or function that a section instantiates


STRATEGY = "strategy"  # the column that represents the whole freeze section


NONE_FINISHED = "None of these runs has finished:\n"


COORDINATES = ("data.fold", "data.repeat")  # of a run in its group, like the seed


# What records and shows a training, and does not change it.
IDLE = (
    *("logger", "callbacks.progress", "callbacks.learning_rate"),
    *("callbacks.checkpoint.every_minutes", "callbacks.checkpoint.weights_only"),
)


MODES = ("monitor.mode", "scheduler.schedule.mode")  # determined by the metric; configs of older runs contain them


class Block(NamedTuple):
    """What pairs the runs of two groups: the seed and, in cross-validation, the repeat."""

    seed: int
    repeat: int = 0

    @property
    def title(self) -> str:
        return f"seed {self.seed}" + (f", repeat {self.repeat}" if self.repeat else "")


@dataclass(frozen=True)
class Run:
    """A run in its folder: with its result, or with the reason why there is none."""

    folder: RunFolder
    values: Mapping[str, str]  # of the whole config, by dotted key, without seed, fold, repeat and folders
    strategy: str
    seed: int
    result: dict[str, Any] | None
    problem: str = ""
    repeat: int = 0
    fold: int = 0
    folds: int = 1  # of its cross-validation; 1 without
    trial: bool = False  # of a race, to choose learning rates by: no evidence

    @property
    def title(self) -> str:
        """What tells it from the other runs of its group."""
        return str(self.seed) + (f", repeat {self.repeat}, fold {self.fold}" if self.folds > 1 else "")

    @property
    def block(self) -> Block:
        return Block(self.seed, self.repeat)

    def predictions(self, *columns: str, split: str = "test") -> dict[str, list[Any]] | None:
        """Returns columns of the predictions; None if there are no predictions.

        Args:
            columns: their names; `text` has the pairs of a run on pairs.
            split: test or validation.

        Raises:
            UserError: the file cannot be read or lacks a column.
        """
        import pyarrow.parquet

        file = self.folder.path / "predictions" / f"{split}.parquet"
        if not file.exists():
            return None
        try:
            with pyarrow.parquet.ParquetFile(file) as opened:
                sides = [name for name in COLUMNS if name in opened.schema_arrow.names and "text" in columns]
                table = opened.read(columns=[*{*columns, *sides}])
            texts = {"text": from_columns({name: table.column(name).to_pylist() for name in sides})} if sides else {}
            return {name: texts.get(name) or table.column(name).to_pylist() for name in columns}
        except (OSError, KeyError, pyarrow.ArrowException) as error:
            raise UserError(
                f"{file} must hold the columns {', '.join(columns)}; it cannot be read: {reason(error)}.\n"
                "Copy the run folder again from where it was trained."
            ) from None


class Lost(NamedTuple):
    """A run without a result whose config cannot be used: no group is known to be its own. What is known of it, and why
    it has no result, as text."""

    folder: RunFolder
    strategy: str
    seed: str
    problem: str


def read_runs(root: Path) -> list[Run]:
    """Returns all runs in a folder but those of `read_lost`. The pretraining stage of a pretrain-then-classify run
    belongs to that run.

    Raises:
        UserError: there are none, or one with a result has a config that cannot be read.
    """
    runs = [read_run(folder) for folder in runs_in(root) if not _is_lost(folder)]
    if not runs and (lost := read_lost(root)):
        raise UserError(NONE_FINISHED + "\n".join(f"{one.folder.path}: {one.problem}" for one in lost))
    if not runs:
        found = "contains none" if root.is_dir() else "does not exist" if not root.exists() else "is not a folder"
        raise UserError(f"runs must be a folder that contains runs; {root} {found}.\nSweeps are in outputs/sweeps.")
    return runs


def unless_undefined(run: Run, metric: str, *splits: str) -> Run:
    """Returns the run; without its result if that does not define a score in these splits, as correlations where all
    targets are equal."""
    for split in splits:
        if run.result and run.result["metrics"][split].get(metric) is None:
            problem = f"{metric} is not defined in {split}, as where all texts have one label or all targets are equal"
            return replace(run, result=None, problem=problem)
    return run


def read_lost(root: Path) -> list[Lost]:
    """Returns the runs in a folder that have no result and a config that cannot be used, as of a job that has failed
    since its values are of the wrong type."""
    return [Lost(folder, *_known(folder), folder.problem()) for folder in runs_in(root) if _is_lost(folder)]


def _is_lost(folder: RunFolder) -> bool:
    if (folder.path / "result.json").exists():
        return False
    try:
        read_run(folder)
    except Exception:  # whatever its config holds
        return True
    return False


def _known(folder: RunFolder) -> tuple[str, str]:
    """Returns the strategy and the seed of a run, as far as its config says."""
    with contextlib.suppress(Exception):
        content: Any = OmegaConf.create((folder.path / "config.yaml").read_text(encoding="utf-8"))
        cfg = as_read(content)
        return _strategy_name(cfg.freeze, None), str(cfg.seed)
    return "unknown strategy", "unknown"


def read_run(folder: RunFolder) -> Run:
    """
    Raises:
        UserError: its config cannot be read.
    """
    try:
        cfg = folder.saved_config("reading")
    except UserError as error:
        raise UserError(f"{error}\nTo use the other runs, move {folder.path} elsewhere.") from None
    values = _values(cfg)
    repeat, fold, folds = (int(cfg.data.get(key) or least) for key, least in (("repeat", 0), ("fold", 0), ("folds", 1)))
    try:
        result, problem = _full_result(folder), ""
    except UserError as error:  # of a finished run: what became of its result since
        finished = folder.state() == "finished"
        result, problem = None, str(error).splitlines()[0] if finished else folder.problem()
    trial = bool((cfg.get("race") or {}).get("trial"))
    strategy = _strategy_name(cfg.freeze, result)
    return Run(folder, values, strategy, int(cfg.seed), result, problem, repeat, fold, folds, trial)


def _strategy_name(section: DictConfig, result: Mapping[str, Any] | None) -> str:
    """Returns what a strategy is called. Of one that may not be built only the run knows it, if it has finished."""
    if is_built("freeze", section, CONF):
        with contextlib.suppress(InstantiationException, AttributeError):  # the run has failed for this reason
            return str(hydra.utils.instantiate(section).name)
    elif result and "strategy" in result:
        return str(result["strategy"])
    return str(section.get(TARGET, "none")).rpartition(".")[2]


def _full_result(folder: RunFolder) -> dict[str, Any]:
    """Returns the result of a run; for pretrain-then-classify runs, the costs include the pretraining.

    `seconds` gets an entry `without_encoding`: runs that share an activation store take its time once, in the run that
    happens to come first.

    Raises:
        UserError: the run, or its pretraining, has no result.
    """
    result, pretraining = folder.read_result(), RunFolder(folder.path / "pretrain")
    if pretraining.path.is_dir():
        first = pretraining.read_result()
        result["seconds"]["total"] += first["seconds"]["total"]
        flops = (result.get("operations"), first.get("operations"))
        result["operations"] = None if None in flops else sum(flops)
    seconds = result["seconds"]
    seconds["without_encoding"] = seconds["total"] - seconds.get("encode", 0.0)
    return result


def has_effect(key: str) -> bool:
    """Returns whether a key of the config can change what a run learns."""
    return not any(f"{key}.".startswith(f"{idle}.") for idle in IDLE)


def _values(cfg: DictConfig) -> dict[str, str]:
    """Returns the whole config by dotted key, without seed, fold, repeat and folders, and without callbacks and loggers
    that only watch. The path of a pretraining (`backbone.run`) is replaced by its config, so that runs with the same
    settings are one group even if each seed used its own pretraining."""
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    left_out = {*IGNORED, *COORDINATES, *_references(cfg), "seed"}
    rest = flat({key: value for key, value in content.items() if key not in left_out})
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in rest if has_effect(key)}
    values = {key: value for key, value in values.items() if not key.endswith(MODES) and key not in left_out}
    for key in values:
        if key.endswith(f".{TARGET}"):
            values[key] = values[key].rpartition(".")[2]
    # Two sections without a `_target_`.
    if isinstance(backbone := content.get("backbone"), dict):
        values[f"backbone.{TARGET}"] = _backbone_title(backbone)
    values[f"pretrain.{TARGET}"] = "mlm first" if content.get("pretrain") else "no mlm"
    if pretrained := values.get("backbone.run"):
        try:
            pretraining = _values(RunFolder(user_path(pretrained)).saved_config("reading"))
        except UserError:  # it no longer exists
            return values
        del values["backbone.run"]
        values |= {f"backbone.run.{key}": value for key, value in pretraining.items()}
    return values


def _references(cfg: DictConfig) -> set[str]:
    """Returns the keys of callbacks that repeat another key: the run folder, and the monitored metric."""
    content: Any = OmegaConf.to_container(cfg, resolve=False)
    return {key for key, value in flat(content.get("callbacks") or {}, "callbacks.") if "${" in str(value)}


def _backbone_title(backbone: Mapping[str, Any]) -> str:
    """Returns the name of a backbone in the table."""
    if "run" in backbone or "hidden_size" in backbone:
        return "run" if "run" in backbone else "scratch"
    return str(backbone.get("name") or backbone.get("package"))


def value_of(run: Run, column: str) -> str:
    """Returns what a column of the table shows for a run."""
    if column == STRATEGY:
        return run.strategy
    return run.values.get(f"{column}.{TARGET}", run.values.get(column, "-"))
