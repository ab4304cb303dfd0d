"""The arguments of Lightning's Trainer: their types, and which of their values are not supported."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field, PlainValidator

from src.config.sections import Component, Natural, Positive

OWN = ("compile", "gradient_checkpointing", "threads")  # keys of the trainer section that are not Lightning's


ALIASES = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}  # Lightning's short precisions


UNITS = ("weeks", "days", "hours", "minutes", "seconds")


def _batches(value: Any) -> int | float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value % 1 > 0 and value > 1):
        raise ValueError(f"must be a number of batches, or a fraction of them from 0.0 to 1.0; got {value}")
    return value if value <= 1 else int(value)


def _steps(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or (value < 1 and value != -1):
        raise ValueError(f"must be a number of steps, at least 1, or -1 for no limit; got {value}")
    return value


def _duration(value: Any) -> str | dict[str, float] | None:
    if value is not None and not _is_time(value):
        raise ValueError(f"must be DAYS:HOURS:MINUTES:SECONDS, such as 00:01:30:00, or {{hours: 1.5}}; got {value}")
    found: str | dict[str, float] | None = value
    return found


def _is_time(value: Any) -> bool:
    written = isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value)
    parts = dict(zip(UNITS[1:], map(int, value.split(":")), strict=True)) if written else value
    if not isinstance(parts, dict) or not {*parts} <= {*UNITS}:
        return False
    try:
        return timedelta(**parts) > timedelta()
    except (TypeError, ValueError, OverflowError):  # as of a text, of no number, and of infinity
        return False


def _deterministic(value: Any) -> bool | str:
    if value not in (True, False, None, "warn"):
        raise ValueError(f"must be true, false or warn; got {value}")
    return value or False


Batches = Annotated[int | float, PlainValidator(_batches)]


Precision = Annotated[
    Literal[
        "auto",
        "32-true",
        "bf16-mixed",
        "16-mixed",
        "64-true",
        "bf16-true",
        "16-true",
        "transformer-engine",
        "transformer-engine-float16",
    ],
    BeforeValidator(lambda value: ALIASES.get(str(value), value)),
]


class Trainer(Component):
    """The arguments of Lightning's Trainer, and three keys of this project. Those of type Any are checked by Lightning,
    or have a single valid value (see `refusals`)."""

    model_config = pydantic.ConfigDict(extra="forbid", populate_by_name=True)

    accelerator: Any = "auto"
    devices: Any = 1
    num_nodes: Positive = 1
    strategy: Any = "auto"
    precision: Precision
    max_epochs: Positive
    min_epochs: Natural | None = None
    max_steps: Annotated[int, PlainValidator(_steps)] = -1
    min_steps: Natural | None = None
    max_time: Annotated[str | dict[str, float] | None, PlainValidator(_duration)] = None
    limit_train_batches: Batches = 1.0
    limit_val_batches: Batches = 1.0
    limit_test_batches: Batches = 1.0
    overfit_batches: Batches = 0
    accumulate_grad_batches: Positive = 1
    gradient_clip_val: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    check_val_every_n_epoch: Positive = 1
    num_sanity_val_steps: Annotated[int, Field(ge=-1)] = 0
    log_every_n_steps: Natural = 10
    enable_progress_bar: bool = True
    enable_model_summary: bool = False
    profiler: Literal["simple", "advanced", "pytorch", "xla"] | None = None
    deterministic: Annotated[bool | str, PlainValidator(_deterministic)] = False
    benchmark: bool | None = None
    detect_anomaly: bool = False
    inference_mode: bool = True

    val_check_interval: Any = 1.0
    fast_dev_run: Any = False
    barebones: Any = False
    enable_checkpointing: Any = True
    enable_autolog_hparams: Any = True
    use_distributed_sampler: Any = False
    sync_batchnorm: Any = False
    reload_dataloaders_every_n_epochs: Any = 0
    limit_predict_batches: Any = None
    default_root_dir: Any = None
    model_registry: Any = None
    logger: Any = None
    callbacks: Any = None
    plugins: Any = None

    compile: bool = False
    gradient_checkpointing: bool = False
    threads: Positive | None = None


DEFAULTS = {name: field.default for name, field in Trainer.model_fields.items() if not field.is_required()}


# The only valid value, why, and what to do instead.
ONLY: dict[str, tuple[Any, str, str]] = {
    "fast_dev_run": (
        False,
        "it disables logging and checkpoints, which results are made from",
        "For a quick trial: trainer.max_epochs=1 trainer.limit_train_batches=1 trainer.limit_val_batches=1 "
        "trainer.limit_test_batches=1.",
    ),
    "barebones": (False, "it disables logging and checkpoints, which results are made from", "Leave it out."),
    "enable_checkpointing": (True, "results are those of the best checkpoint", "Leave it out."),
    "val_check_interval": (
        1.0,
        "phases, history and best checkpoint are per epoch",
        "To validate more often, make epochs shorter: trainer.limit_train_batches=0.5 with twice trainer.max_epochs.",
    ),
    "reload_dataloaders_every_n_epochs": (0, "the data of a run stays the same", "Leave it out."),
    "use_distributed_sampler": (
        False,
        "batches are split across processes already, each text once",
        "Leave it out.",
    ),
    "sync_batchnorm": (False, "no network here has batch normalisation", "Leave it out."),
    "enable_autolog_hparams": (
        True,
        "the hyper-parameter table has one line per run with scores",
        "Leave it out.",
    ),
    "limit_predict_batches": (
        None,
        "training predicts only the validation and test splits",
        "To predict other texts: python -m src.predict.",
    ),
    "default_root_dir": (None, "a run writes into its run folder only", "Choose that: run=FOLDER."),
    "model_registry": (None, "checkpoints stay in the run's folder", "To share a model: python -m src.export."),
    "logger": (None, "it is a config group", "Choose logger=tensorboard, csv, wandb or mlflow."),
    "callbacks": (
        None,
        "they are a config group of their own",
        "Choose callbacks=default or callbacks=no_early_stopping.",
    ),
    "plugins": (None, "precision, checkpoints and processes have their own keys", "Leave it out."),
}


COARSE = "weights with so few bits round away updates of usual size"


PRECISIONS = {
    "bf16-true": (COARSE, "bf16-mixed"),
    "16-true": (COARSE, "16-mixed (GPU) or bf16-mixed"),
    "transformer-engine": ("backbones do not use its layers", "bf16-mixed"),
    "transformer-engine-float16": ("backbones do not use its layers", "16-mixed (GPU)"),
}


PROFILERS = {
    "pytorch": "it stops runs whose number of steps does not fit its schedule",
    "xla": "it is for TPUs",
}


STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")


def refusals(trainer: Trainer) -> Iterator[str]:
    """Yields a message for each unsupported value. Not part of the schema, so that older runs stay readable."""
    for key, (value, why, instead) in ONLY.items():
        found = getattr(trainer, key)
        if found != value or (isinstance(value, float) and not isinstance(found, float)):
            yield f"trainer.{key} must be {_shown(value)}, since {why}; got {_shown(found)}.\n{instead}"
    if trainer.precision in PRECISIONS:
        why, instead = PRECISIONS[trainer.precision]
        yield f"trainer.precision cannot be {trainer.precision}: {why}.\nChoose {instead}."
    if trainer.profiler in PROFILERS:
        yield (
            f"trainer.profiler cannot be {trainer.profiler}: {PROFILERS[trainer.profiler]}.\nChoose simple or advanced."
        )
    if trainer.strategy not in STRATEGIES:
        yield (
            "trainer.strategy must be auto or ddp, since each process audits all parameters; "
            f"got {trainer.strategy}.\nChoose trainer=ddp."
        )
    for split in ("train", "val", "test"):
        if not getattr(trainer, f"limit_{split}_batches"):
            yield f"trainer.limit_{split}_batches must leave at least one batch; got 0.\n{_without(split)}"
    for least, most in (("min_epochs", "max_epochs"), ("min_steps", "max_steps")):
        low, high = getattr(trainer, least) or 0, getattr(trainer, most)
        if 0 < high < low:
            yield f"trainer.{least} must be at most trainer.{most}; got {low} and {high}.\nLower the first."


def _without(split: str) -> str:
    if split == "val":
        return (
            "A run ends with validation and test scores. To train without validation: "
            "trainer.check_val_every_n_epoch=1000 monitor.metric=train/loss."
        )
    return "A run ends with validation and test scores." if split == "test" else "A run needs training batches."


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
