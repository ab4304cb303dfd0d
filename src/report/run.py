"""Writes the output of a finished run: result.json, predictions, report, figures, TensorBoard summary."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
import platform
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning import Trainer

import src
from src.callbacks.audit import count
from src.callbacks.ending import find, sentence
from src.callbacks.saving import Saving
from src.config.validation import check
from src.data.corpus import Corpus
from src.datamodules.datamodule import MaskedDataModule, TextDataModule
from src.files.atomic import FULL, write_atomic
from src.freezing.reached_phases import trained_phases
from src.freezing.strategy import trained_in
from src.models.adapters import merge_adapters, save_adapters
from src.models.masked_language import save_model
from src.modules.classifier import TextClassifier
from src.modules.freezable import FreezableModule
from src.modules.masked_language_model import MaskedLanguageModel
from src.pages.figures import write_png
from src.report import classification, dashboard, masked, regression
from src.report.outcome import Outcome, Shown
from src.report.plots import curves
from src.runs.convergence import convergence
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.runs.results import FORMAT
from src.training.loggers import where
from src.training.memory import peak_gpu_memory

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "pytorch-lightning", "transformers", "datasets", "torchmetrics", "hydra-core", "numpy")


def finish(
    trainer: Trainer,
    module: FreezableModule,
    datamodule: TextDataModule,
    cfg: DictConfig,
    folder: RunFolder,
    known: dict[str, Any],
    best: dict[str, Any],
) -> dict[str, Any]:
    """Writes all results of a run after its best weights have been validated and tested.

    Args:
        trainer: the trainer of the run.
        module: with the best weights, and the predictions of validation and test.
        datamodule: its data.
        cfg: the whole config.
        folder: of the run.
        known: further keys of result.json: strategy, seconds, phases.
        best: the best checkpoint.

    Returns:
        The content of result.json.
    """
    corpus = datamodule.evaluated_corpus()
    outcome = _conclude(module, datamodule, corpus, cfg, folder)
    result = _content(trainer, module, datamodule, corpus, cfg, known, best, outcome)
    _save_weights(module, datamodule, folder)
    if state := convergence(result):
        result["convergence"] = {**dataclasses.asdict(state), "undertrained": state.undertrained}
    saving = find(trainer, Saving)
    saving.keep_best()
    result["sha256"] = folder.digests()
    folder.write_json("result.json", result)
    # The rest only presents the result, which must survive, say, a figure that runs out of memory.
    last = module.history[-1]
    folder.write_status("finished", epoch=last["epoch"], step=last["step"], report="unfinished")
    with _only_warn("report"):
        shown = outcome.show()
        sizes = (len(corpus.splits["test"]), len(datamodule.corpus.splits["test"]))
        _write_report(module, sizes, folder, result, shown, outcome)
        with _only_warn("loggers"):
            dashboard.show(trainer, cfg, folder, result, shown)
    folder.write_status("finished", epoch=last["epoch"], step=last["step"])
    saving.forget_last()
    _log_outputs(folder, result, outcome.headline, cfg.trainer.max_epochs)
    for look in where(trainer.loggers, folder):
        log.info("         %s", look)
    if state and state.undertrained:
        log.warning("%s", state.warning)
    return result


def _conclude(
    module: FreezableModule, datamodule: TextDataModule, corpus: Corpus, cfg: DictConfig, folder: RunFolder
) -> Outcome:
    """Returns what came of the run, by what it was trained for; writes the predictions."""
    if isinstance(module, TextClassifier) and corpus.space.is_regression:
        return regression.conclude(module, corpus, folder)
    if isinstance(module, TextClassifier):
        return classification.conclude(module, corpus, folder, check(cfg))
    assert isinstance(module, MaskedLanguageModel)
    assert isinstance(datamodule, MaskedDataModule)
    return masked.conclude(module, datamodule)


def _content(
    trainer: Trainer,
    module: FreezableModule,
    datamodule: TextDataModule,
    corpus: Corpus,
    cfg: DictConfig,
    known: dict[str, Any],
    best: dict[str, Any],
    outcome: Outcome,
) -> dict[str, Any]:
    """Returns the content of result.json, but what follows from it and the SHA-256 of the weights."""
    left = {name: len(datamodule.corpus.splits[name]) - len(split) for name, split in corpus.splits.items()}
    return {
        "format": FORMAT,
        **known,
        **corpus.space.described(),
        "metrics": outcome.metrics,
        "best": {"epoch": best["epoch"] + 1, "step": best["global_step"], "phase": best["phase"] + 1},
        "texts": {name: len(split) for name, split in corpus.splits.items()},
        **({"fold": corpus.fold.described()} if corpus.fold else {}),
        "texts_left_out": {name: texts for name, texts in left.items() if texts},
        "parameters": {
            "total": sum(p.numel() for p in module.parameters()),
            "trainable": count(module, trained_in(trained_phases(module.phases, known["phases"]))),
        },
        "peak_memory_bytes": _peak_memory(),
        "peak_gpu_memory_bytes": peak_gpu_memory(trainer),
        "operations": _flops(known["phases"]),
        "environment": _environment(trainer),
        "seed": cfg.seed,
        "config_hash": config_hash(cfg),
        "history": module.history,
        **outcome.details,
    }


def _save_weights(module: FreezableModule, datamodule: TextDataModule, folder: RunFolder) -> None:
    """Saves adapters, and the backbone of a masked language model, for other programs."""
    if hasattr(module.encoder, "peft_config"):
        with _only_warn("adapter"):
            save_adapters(module.encoder, folder.path / "adapter")
    if isinstance(module, MaskedLanguageModel):
        merge_adapters(module.encoder)
        save_model(folder.model, module.encoder, module.head, datamodule.tokenizer)


@contextlib.contextmanager
def _only_warn(what: str) -> Iterator[None]:
    """Logs a warning and continues if an output that only presents the result cannot be written.

    Args:
        what: the output, by its path in the run folder.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        log.warning("%s could not be written: %s: %s", what, type(error).__name__, error)


def _flops(phases: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the FLOPs of all training steps and encoding passes of a run; None if they were not counted."""
    steps = [phase["operations"] for phase in phases]
    return None if None in steps else sum(steps) + sum(p["activations"].get("operations", 0) for p in phases)


def _write_report(
    module: FreezableModule,
    sizes: tuple[int, int],
    folder: RunFolder,
    result: dict[str, Any],
    shown: Shown,
    outcome: Outcome,
) -> None:
    name, text = shown.report
    texts = " of ".join(f"{size:,}" for size in dict.fromkeys(sizes))
    title = f"Test of {folder.name} (epoch {result['best']['epoch']}, {texts} texts)\n\n"
    more = "".join(f"\n{note}\n" for note in outcome.notes)
    if learned := result.get("pretraining"):
        test = learned["metrics"]["test"]
        more += f"\nBackbone pretrained to a test perplexity of {test['perplexity']:.1f} ({learned['run']})\n"
    for file, content in {name: f"{title}{text}{more}", **shown.tables}.items():
        with _only_warn(f"report/{file}"):
            write_atomic(folder.file("report", file), content)
    log.info("\n%s", f"{title}{text if shown.summary is None else shown.summary}{more}")
    heading = f"{folder.name}: training and validation"
    best = result["best"]["epoch"]
    figures = {
        "curves": lambda: curves(module.history, best, heading, *outcome.curve, outcome.score),
        **shown.figures,
    }
    for figure, draw in figures.items():
        with _only_warn(f"report/{figure}.png"):
            write_png(draw(), folder.file("report", f"{figure}.png"), dpi=120)


def _log_outputs(folder: RunFolder, result: dict[str, Any], headline: str, epochs: int) -> None:
    seconds = result["seconds"]
    if ended := sentence(result["ended"], result["best"]["epoch"], epochs):
        log.info(ended)
    log.info(
        "%s with %s of %s parameters trained, in %.0f seconds (%.0f of them training).",
        headline,
        f"{result['parameters']['trainable']:,}",
        f"{result['parameters']['total']:,}",
        seconds["total"],
        seconds["fit"],
    )
    log.info("Results: %s", folder.path / "result.json")
    folders = [folder.path / name for name in ("adapter", "model") if (folder.path / name).exists()]
    for file in [*sorted((folder.path / "report").glob("*")), *folders]:
        log.info("         %s", file)


def _peak_memory() -> int:
    """Returns the peak memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _environment(trainer: Trainer) -> dict[str, Any]:
    device = trainer.strategy.root_device
    return {
        "thaw": src.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "device": str(device),
        "devices": trainer.world_size,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "precision": trainer.precision,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
