"""Composed config -> fitted run -> result. The entry point of `python -m src.train`.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import logging.handlers
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from src import pretraining
from src.build import build, build_trainer, check_fit, check_monitor, find_backbone, read_config
from src.checking import check_references
from src.cli import fail, run_command
from src.config import Scratch, UserError
from src.data import corpus as corpora
from src.ranks import is_main_process
from src.runs import RunFolder
from src.sweeps import is_sweep_job, run_job, with_folder

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from src.data.datamodule import TextDataModule
    from src.freezable import FreezableModule

log = logging.getLogger(__name__)

Result = dict[str, Any]


class Clock:
    """Wall time by part of the run, in seconds."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begin

    def total(self) -> float:
        return time.perf_counter() - self.started


def train(cfg: DictConfig, folder: RunFolder) -> Result:
    """Trains one run and leaves its results in the folder.

    Args:
        cfg: composed from conf/train.yaml.
        folder: of the run; nothing is written into it before everything the user gave has been checked.

    Returns:
        The content of result.json.

    Raises:
        UserError: something in the config or the data cannot be used.
    """
    check_references(cfg)
    cfg = _resumed(cfg, folder) if cfg.resume else cfg
    with open_dict(cfg):
        cfg.run = str(folder.path)
    return _train_twice(cfg, folder) if cfg.pretrain else _train_once(cfg, folder, lambda: folder.claim(cfg))


def _train_twice(cfg: DictConfig, folder: RunFolder) -> Result:
    """Pretrains a backbone in a folder inside the run's, then trains the run with it; what is done already is kept."""
    first, second = pretraining.both_configs(cfg, folder)
    settings, strategy = read_config(second)
    # What would stop the second training is found before the first begins.
    check_fit(settings, strategy, find_backbone(read_config(first)[0].backbone))
    check_monitor(settings, corpora.load(settings.data))
    inner = RunFolder(Path(first.run))

    def claim_both() -> None:
        if not cfg.resume:
            folder.claim(cfg)
        elif inner.path.exists():
            shutil.rmtree(inner.path)  # it was interrupted before its first checkpoint
        inner.claim(first)

    if inner.state() != "finished":
        first.resume = inner.last_checkpoint.exists()
        _train_once(first, inner, claim_both)
    learned = inner.read_result()
    second.resume = folder.last_checkpoint.exists()
    about = {"run": first.run, **{key: learned[key] for key in ("metrics", "seconds", "best")}}
    return _train_once(second, folder, lambda: None, pretraining=about)


def _train_once(cfg: DictConfig, folder: RunFolder, claim: Callable[[], None], **known: Any) -> Result:
    """Trains one run.

    Args:
        cfg: of the run.
        folder: of the run.
        claim: makes the folder the run's, once all that the user gave has been checked; not called for a resumed run.
        known: what result.json says besides.
    """
    clock = Clock()
    with _run_log() as memory:
        settings, strategy = read_config(cfg)
        with clock("data"):
            source = find_backbone(settings.backbone)
            check_fit(settings, strategy, source)
            corpus = corpora.load(settings.data, settings.masks)
        check_monitor(settings, corpus)
        with clock("import"):
            _import_libraries()
            from src.caching import check
            from src.phases import Phases
            from src.report.run import finish
        log.info("Strategy %s; run folder %s", strategy.name, folder.path)
        with clock("build"):
            module, datamodule = build(cfg, settings, strategy, source, corpus)
            trainer = build_trainer(cfg, settings, folder, len(module.phases))
            datamodule.setup()
            check(module, datamodule, settings)
        if is_main_process():
            if not cfg.resume:
                claim()
                if isinstance(settings.backbone, Scratch):
                    # A tokenizer made of the training texts is part of the run.
                    datamodule.tokenizer.save_pretrained(folder.model)
            memory.setTarget(folder.log_handler())
            memory.flush()
        try:
            best = _fit(trainer, module, datamodule, cfg, folder, clock)
            if not is_main_process():
                return {}
            phases = next(c for c in trainer.callbacks if isinstance(c, Phases))  # type: ignore[attr-defined]
            fit = clock.seconds["fit"] - phases.encoding_seconds
            seconds = {"total": clock.total(), **clock.seconds, "encode": phases.encoding_seconds, "fit": fit}
            known |= {"strategy": strategy.name, "seconds": seconds, "phases": phases.done}
            return finish(trainer, module, datamodule, cfg, folder, known, best)
        except Exception as error:
            if is_main_process():
                folder.write_status("failed", error=f"{type(error).__name__}: {error}")
            raise


def _fit(
    trainer: Trainer,
    module: FreezableModule,
    datamodule: TextDataModule,
    cfg: DictConfig,
    folder: RunFolder,
    clock: Clock,
) -> dict[str, Any]:
    """Trains, then validates and tests the best weights; returns their checkpoint."""

    try:
        with clock("fit"):
            resume = str(folder.last_checkpoint) if cfg.resume else None
            trainer.fit(module, datamodule, ckpt_path=resume, weights_only=True)
    except SystemExit:
        # Lightning exits with 1 on Ctrl-C, without saving: the last checkpoint is of the last full epoch.
        log.warning("Interrupted. Go on with: python -m src.train run=%s resume=true", folder.path)
        raise SystemExit(130) from None
    with clock("test"):
        best = folder.read_checkpoint(folder.best_checkpoint)
        module.check_state(best["state_dict"])
        module.load_state_dict(best["state_dict"], strict=False)
        trainer.validate(module, datamodule, verbose=False)
        trainer.test(module, datamodule, verbose=False)
    return best


def _resumed(cfg: DictConfig, folder: RunFolder) -> DictConfig:
    """The config of the run to go on with; only values of the trainer and its callbacks may be given anew."""
    saved = folder.saved_config()
    if not saved.pretrain and not folder.last_checkpoint.exists():
        raise UserError(f"{folder.path} has no checkpoint to go on from (checkpoints/last.ckpt).\nStart a new run.")
    finished = folder.state() == "finished"
    given = [str(o) for o in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    changes = [o for o in given if o.partition("=")[0] not in ("run", "resume")]
    if refused := [o for o in changes if not o.startswith(("trainer.", "callbacks."))]:
        raise UserError(
            f"A resumed run keeps its config, apart from values of trainer and callbacks; got {', '.join(refused)}.\n"
            "Start a new run for that."
        )
    if finished and not changes:
        raise UserError(f"{folder.path} is finished.\nTrain it longer with trainer.max_epochs=N, or start a new run.")
    given_again: dict[str, Any] = {"resume": True}
    if "tokenizer" in saved.backbone:
        given_again["backbone"] = {"tokenizer": str(folder.model)}
    resumed = OmegaConf.merge(saved, OmegaConf.from_dotlist(changes), given_again)
    assert isinstance(resumed, DictConfig)
    return resumed


def _import_libraries() -> None:
    """Imports what takes seconds, and keeps it quiet where it would only repeat what the run says itself."""
    first = "pytorch_lightning" not in sys.modules
    # Nothing that an import makes is ever garbage; looking for it takes a fifth of the time, and again in training.
    gc.disable()
    import pytorch_lightning  # noqa: F401

    import src.report.run  # noqa: F401

    if first:  # in a later run of the same process this would keep what the run before has left
        gc.freeze()
    gc.enable()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        r"Found \d+ module\(s\) in eval mode",  # they are frozen on purpose
        r"Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its own folder
        r"It is recommended to use .self\.log",  # scores are of the predictions of all processes already
        r"Glyph \d+ .* missing from font",  # a label in a script that the picture's font lacks
        r"The number of training batches .* is smaller than the logging interval",  # epochs are logged in any case
        r".isinstance\(treespec, LeafSpec\). is deprecated",  # about Lightning's own code
    ):
        warnings.filterwarnings("ignore", message=message)


@contextlib.contextmanager
def _run_log() -> Iterator[logging.handlers.MemoryHandler]:
    """Logs to the terminal, and holds everything back for train.log until there is a run folder."""
    root = logging.getLogger()
    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    memory = logging.handlers.MemoryHandler(capacity=1, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    before, root.level = root.level, logging.INFO if is_main_process() else logging.WARNING
    root.addHandler(terminal)
    root.addHandler(memory)
    try:
        yield memory
    finally:
        memory.flush()
        if memory.target:
            memory.target.close()
        for handler in (terminal, memory):
            root.removeHandler(handler)
            handler.close()
        root.setLevel(before)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    folder = RunFolder(Path(os.path.relpath(HydraConfig.get().runtime.output_dir)))
    if is_sweep_job():
        return run_job(cfg, folder)
    try:
        train(cfg, folder)
    except UserError as error:
        fail(str(error))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        folder.discard_if_empty()
    return None


if __name__ == "__main__":
    with with_folder(sys.argv):
        run_command(main, "train")
