"""Everything a finished run leaves and shows: result.json, predictions, report, pictures, TensorBoard summary."""

from __future__ import annotations

import datetime
import logging
import os
import platform
import resource
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

import src
from src import metrics
from src.adapting import save_adapters
from src.data.corpus import Corpus, Split
from src.modules import Predictions, TextClassifier
from src.report.classification import report_text
from src.report.plots import confusion, curves
from src.runs import FORMAT, RunFolder, config_hash

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "pytorch-lightning", "transformers", "datasets", "torchmetrics", "hydra-core", "numpy")


def finish(
    trainer: Trainer,
    module: TextClassifier,
    corpus: Corpus,
    cfg: DictConfig,
    folder: RunFolder,
    known: dict[str, Any],
    best: dict[str, Any],
) -> dict[str, Any]:
    """Writes all results of a run whose best weights have just been validated and tested.

    Args:
        trainer: that fitted the module.
        module: with the best weights, and the predictions of validation and test.
        corpus: the rows.
        cfg: the whole config.
        folder: of the run.
        known: what the result says of the run besides: strategy, seconds, phases.
        best: the best checkpoint.

    Returns:
        The content of result.json.
    """
    space, found = corpus.space, module.predictions
    thresholds = None
    if space.objective == "multilabel":
        validation = found["validation"]
        thresholds = metrics.tune_thresholds(
            metrics.probabilities(validation.logits, space.objective), validation.targets
        )
    scores = {name: module.score(found[name], thresholds) for name in ("validation", "test")}
    if thresholds is not None:
        for name in scores:
            plain = module.score(found[name])
            scores[name] |= {f"{key}_at_half": plain[key] for key in ("f1_macro", "f1_micro", "subset_accuracy")}
    for name in ("validation", "test"):
        _write_predictions(folder, name, corpus.splits[name], found[name], module, thresholds)
    result = {
        "format": FORMAT,
        **known,
        "objective": space.objective,
        "labels": list(space.names),
        "metrics": scores,
        "best": {"epoch": best["epoch"], "step": best["global_step"], "phase": best["phase"]},
        "texts": {name: len(split) for name, split in corpus.splits.items()},
        "parameters": {
            "total": sum(p.numel() for p in module.parameters()),
            "trainable": sum(p.numel() for n, p in module.named_stage_parameters().items() if n in module.trained),
        },
        "peak_memory_bytes": _peak_memory(),
        "environment": _environment(trainer),
        "seed": cfg.seed,
        "config_hash": config_hash(cfg),
        "history": module.history,
    }
    if thresholds is not None:
        result["thresholds"] = dict(zip(space.names, thresholds.tolist(), strict=True))
    if hasattr(module.encoder, "peft_config"):
        save_adapters(module.encoder, folder.path / "adapter")
    _write_report(trainer, module, corpus, folder, result, thresholds)
    _summarise(trainer, cfg, scores)
    folder.write_json("result.json", result)
    last = module.history[-1]
    folder.write_status("finished", epoch=last["epoch"], step=last["step"])
    _say_where_to_look(folder, result)
    return result


def decide(predictions: Predictions, module: TextClassifier, thresholds: torch.Tensor | None) -> NDArray[Any]:
    """The predicted label indices, or [rows, labels] of 0 and 1 for multi-label data."""
    probs = metrics.probabilities(predictions.logits, module.space.objective)
    if thresholds is not None:
        return np.asarray((probs >= thresholds).numpy().astype(np.int64))
    return np.asarray(probs.argmax(1).numpy())


def _write_predictions(
    folder: RunFolder,
    name: str,
    split: Split,
    predictions: Predictions,
    module: TextClassifier,
    thresholds: torch.Tensor | None,
) -> None:
    import pyarrow
    import pyarrow.parquet

    names = np.array(module.space.names)

    def named(labels: NDArray[Any]) -> list[Any]:
        if labels.ndim == 1:
            return list(names[labels.astype(np.int64)])
        return [list(names[row.astype(bool)]) for row in labels]

    table = pyarrow.table(
        {
            "row": split.rows,
            "text": split.texts,
            "true": named(predictions.targets.numpy()),
            "predicted": named(decide(predictions, module, thresholds)),
            "probabilities": metrics.probabilities(predictions.logits, module.space.objective).tolist(),
        }
    )
    pyarrow.parquet.write_table(table, folder.file("predictions", f"{name}.parquet"))


def _write_report(
    trainer: Trainer,
    module: TextClassifier,
    corpus: Corpus,
    folder: RunFolder,
    result: dict[str, Any],
    thresholds: torch.Tensor | None,
) -> None:
    test = module.predictions["test"]
    predicted, targets = decide(test, module, thresholds), test.targets.numpy().astype(np.int64)
    title = f"Test of {folder.name} (epoch {result['best']['epoch'] + 1}, {len(targets):,} texts)"
    text = report_text(predicted, targets, corpus.space, title)
    folder.file("report", "classification_report.txt").write_text(text, encoding="utf-8")
    log.info("\n%s", text)
    figures: dict[str, Figure] = {
        "curves": curves(module.history, result["best"]["epoch"], f"{folder.name}: training and validation"),
        "confusion_matrix": confusion(predicted, targets, corpus.space, "Test: true and predicted labels"),
    }
    for name, figure in figures.items():
        file = folder.file("report", f"{name}.png")
        figure.savefig(file, dpi=120)
        if isinstance(trainer.logger, TensorBoardLogger):
            # The file's pixels, since drawing a figure a second time takes as long as the first.
            trainer.logger.experiment.add_image(name, imread(file)[..., :3], trainer.global_step, dataformats="HWC")


def _summarise(trainer: Trainer, cfg: DictConfig, scores: dict[str, dict[str, float]]) -> None:
    """The HParams tab: what was chosen, and what came out."""
    if not isinstance(trainer.logger, TensorBoardLogger):
        return
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    chosen = {
        k: content[k] for k in ("seed", "backbone", "model", "data", "freeze", "optimizer", "scheduler", "trainer")
    }
    final = {f"{split}/{k}_best": v for split, values in scores.items() for k, v in values.items()}
    trainer.logger.log_hyperparams(chosen, final)
    trainer.logger.save()


def _say_where_to_look(folder: RunFolder, result: dict[str, Any]) -> None:
    test, seconds = result["metrics"]["test"], result["seconds"]
    log.info(
        "Test accuracy %.3f, macro F1 %.3f with %s of %s parameters trained, in %.0f seconds (%.0f of them training).",
        test["accuracy"],
        test["f1_macro"],
        f"{result['parameters']['trainable']:,}",
        f"{result['parameters']['total']:,}",
        seconds["total"],
        seconds["fit"],
    )
    log.info("Look at: %s", folder.path / "result.json")
    for file in sorted((folder.path / "report").iterdir()):
        log.info("         %s", file)
    log.info("         tensorboard --logdir %s", folder.path.parent)


def _peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _environment(trainer: Trainer) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "thaw": src.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "device": str(trainer.strategy.root_device),
        "devices": trainer.world_size,
        "gpu": gpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
