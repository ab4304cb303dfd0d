"""What TensorBoard and other loggers show of a finished run besides the curves logged during training."""

from __future__ import annotations

from typing import Any

from matplotlib.image import imread
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from src.config.validation import check
from src.pages import markdown
from src.report.outcome import Shown
from src.runs.folder import RunFolder
from src.runs.saved_config import as_read, as_written
from src.training.loggers import log_result

# Keys in the HParams tab, the same for all runs so that they share its columns.
CHOSEN = (
    "seed",
    "data.batch_size",
    "data.max_length",
    "optimizer.lr",
    "trainer.max_epochs",
    "trainer.precision",
)


# Charts that overlay all runs.
LAYOUT = {
    "Strategies": {
        "validation loss": ["Multiline", [r"^validation/loss$"]],
        "validation accuracy": ["Multiline", [r"^validation/accuracy$"]],
        "training loss": ["Multiline", [r"^train/loss$"]],
        "trainable parameters": ["Multiline", [r"^freezing/trainable_parameters$"]],
    }
}


def show(trainer: Trainer, cfg: DictConfig, folder: RunFolder, result: dict[str, Any], shown: Shown) -> None:
    """Adds test scores, costs and figures to all loggers that keep more than curves; to TensorBoard also the run's row
    in the HParams tab, precision-recall curves and the worst errors.

    Args:
        trainer: the trainer of the run.
        cfg: the whole config.
        folder: of the run, with its figures.
        result: the content of result.json.
        shown: curves and errors of the run.
    """
    log_result(trainer.loggers, _scalars(result), trainer.global_step, folder)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            _show_on_board(logger, trainer, cfg, folder, result, shown)


def _show_on_board(
    logger: TensorBoardLogger,
    trainer: Trainer,
    cfg: DictConfig,
    folder: RunFolder,
    result: dict[str, Any],
    shown: Shown,
) -> None:
    module: Any = trainer.lightning_module
    settings = check(as_read(as_written(cfg)))  # what comes from the environment may be a secret
    built = {"model": cfg.model._target_, "scheduler": cfg.scheduler.schedule._target_}
    chosen = {
        "freeze": result["strategy"],
        "data": settings.data.title,
        "backbone": settings.backbone.title,
        **{key: target.rpartition(".")[2] for key, target in built.items()},
        **{key: OmegaConf.select(cfg, key) for key in CHOSEN},
        "optimizer.head_lr": module.optimization.head_lr,
    }
    logger.log_hyperparams(chosen, _scalars(result))
    board, step = logger.experiment, trainer.global_step
    board.add_custom_scalars(LAYOUT)
    for file in sorted((folder.path / "report").glob("*.png")):
        # From the file, since drawing a figure again takes as long as the first time.
        board.add_image(file.stem, imread(file)[..., :3], step, dataformats="HWC")
    for label, (targets, probabilities) in shown.precision_recall.items():
        board.add_pr_curve(f"test/{label}", targets, probabilities, step)
    if shown.errors:
        rows = [list(row.values()) for row in shown.errors]
        board.add_text("test/worst_errors", "\n".join(markdown.table(list(shown.errors[0]), rows)), step)
    for name, content in shown.tables.items():
        indented = "\n".join(f"    {line}" for line in content.splitlines())  # as code, in a fixed width
        board.add_text(f"test/{name.partition('.')[0]}", indented, step)
    logger.save()


def _scalars(result: dict[str, Any]) -> dict[str, float]:
    scores = {f"test/{name}": value for name, value in result["metrics"]["test"].items()}
    # With a separate prefix, since `validation/` has the curves over all epochs.
    best = {f"validation_best/{name}": value for name, value in result["metrics"]["validation"].items()}
    costs = {
        "cost/seconds": result["seconds"]["total"],
        "cost/peak_memory_bytes": result["peak_memory_bytes"],
        "cost/operations": result["operations"],
        "cost/trainable_parameters": result["parameters"]["trainable"],
    }
    return {name: float(value) for name, value in (scores | best | costs).items() if value is not None}
