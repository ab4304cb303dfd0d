"""Composed config -> fitted run -> result. The entry point of `python -m src.train`.

Torch and what stands on it are imported inside functions: a mistake in the config or the data is answered before.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, open_dict

from src.cli import fail, run_command
from src.config.backbone import Scratch
from src.config.validation import check_references
from src.data import corpus as corpora
from src.errors import UserError
from src.files.atomic import FULL
from src.files.ranks import is_main_process
from src.models import checks
from src.models.checks import check_fit, check_monitor, find_backbone, read_training
from src.models.imports import without_collection
from src.runs import pretrain_config
from src.runs.folder import RunFolder
from src.runs.moved_names import with_current_names
from src.runs.new_folder import given_folder, own_folder
from src.runs.resuming import checkpoint_errors, resumed
from src.sweeps.folders import with_folder
from src.sweeps.jobs import is_sweep_job, run_job
from src.training.build import build
from src.training.clock import Clock
from src.training.run_log import run_log
from src.training.trainer import build_trainer, check_length

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from src.datamodules.datamodule import TextDataModule
    from src.modules.freezable import FreezableModule

log = logging.getLogger(__name__)

Result = dict[str, Any]


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
    cfg = with_current_names(cfg)
    if os.environ.get("SLURM_RESTART_COUNT", "0") != "0" and (folder.path / "config.yaml").exists():
        cfg.resume = cfg.resume or True  # the same job again, after it was put back into the queue
    if cfg.resume:
        cfg = resumed(cfg, folder)
    elif is_main_process():
        folder.refuse_taken()
    with open_dict(cfg):
        cfg.run = str(folder.path)
    return _train_twice(cfg, folder) if cfg.pretrain else _train_once(cfg, folder, lambda: folder.claim(cfg))


def _train_twice(cfg: DictConfig, folder: RunFolder) -> Result:
    """Pretrains a backbone in a folder inside the run's, then trains the run with it; what is done already is kept."""
    first, second = pretrain_config.stage_configs(cfg, folder)
    checks.check_both(first, second)
    inner = RunFolder(Path(first.run))

    def claim_both() -> None:
        if not cfg.resume:
            folder.claim(cfg)
        inner.claim(first)

    if inner.state() != "finished":
        first.resume = cfg.resume if (inner.path / "config.yaml").exists() else False
        _train_once(first, inner, claim_both, folder)
    learned = inner.read_result()
    second.resume = cfg.resume
    about = {"run": first.run, **{key: learned[key] for key in ("metrics", "seconds", "best")}}
    return _train_once(second, folder, lambda: None, pretraining=about)


def _train_once(
    cfg: DictConfig, folder: RunFolder, claim: Callable[[], None], whole: RunFolder | None = None, **known: Any
) -> Result:
    """Trains one run.

    Args:
        cfg: of the run.
        folder: of the run.
        claim: makes the folder the run's, once all that the user gave has been checked; not called for a resumed run.
        whole: the run that this is a half of, if it is one; the one to go on with.
        known: what result.json says besides.
    """
    clock = Clock()
    with run_log() as memory, contextlib.ExitStack() as held:
        if cfg.resume and is_main_process():
            held.enter_context(folder.locked())
        settings, strategy = read_training(cfg)
        with clock("data"):
            source = find_backbone(settings.backbone)
            check_fit(settings, strategy, source)
            corpus = corpora.load(settings.data, settings.is_mlm)
        check_monitor(settings, corpus)
        with clock("import"):
            _import_libraries()
            from src.caching.use_store import check
            from src.datamodules.unread import say_unread
            from src.models import backbone_files
            from src.models.networks import check_state
            from src.report.run import finish
            from src.runs.checkpoints import newest_valid
            from src.training.ending import Ending, check_left, find
            from src.training.phases import Phases
            from src.training.provenance import Lineage, identity
            from src.training.saving import check_places
        log.info("Strategy %s; run folder %s", strategy.name, folder.path)
        with clock("build"):
            module, datamodule = build(cfg, settings, strategy, source, corpus)
            datamodule.setup()
            if is_main_process():
                max_length = settings.data.max_length
                say_unread(corpus.splits, datamodule.tokens, datamodule.tokenizer, max_length, source.longest)
            backbone = backbone_files.record(source, datamodule.tokenizer)
            lineage = Lineage(identity(datamodule, module, backbone))
            check_length(settings, datamodule)
            trainer = build_trainer(cfg, settings, strategy, folder, len(module.phases), lineage)
            check(module, datamodule, settings)
            found = newest_valid(folder.checkpoints) if cfg.resume else None
            if found:
                with checkpoint_errors(found[0]):
                    check_left(found[1], settings, trainer, folder.state() == "finished")
                    lineage.resume_command(found[1], cfg.resume == "force")
                    check_state(found[1]["state_dict"], module.trained)
                    module.load_state_dict(found[1]["state_dict"], strict=False)
        if is_main_process():
            check_places(trainer, folder.path)
            if not cfg.resume:
                claim()
                held.enter_context(folder.locked())
            if not found and isinstance(settings.backbone, Scratch):
                # A tokenizer made of the training texts is part of the run.
                datamodule.tokenizer.save_pretrained(folder.model)
            folder.write_status("running")
            memory.setTarget(folder.log_handler())
            memory.flush()
        try:
            best = _fit(trainer, module, datamodule, found[0] if found else None, folder, clock)
            if not is_main_process():
                return {}
            phases, ending = find(trainer, Phases), find(trainer, Ending)
            fit = clock.seconds["fit"] - phases.encoding_seconds
            seconds = {"total": clock.total(), **clock.seconds, "encode": phases.encoding_seconds, "fit": fit}
            known |= {
                "strategy": strategy.name,
                "backbone": backbone,
                "seconds": seconds,
                "phases": phases.done,
                "resumed": lineage.resumed,
                "ended": ending.describe(trainer, module),
            }
            return finish(trainer, module, datamodule, cfg, folder, known, best)
        except Exception as error:
            if is_main_process() and folder.state() != "finished":
                with contextlib.suppress(OSError):  # the disk may be what has failed
                    folder.write_status("failed", error=f"{type(error).__name__}: {error}")
            if isinstance(error, OSError) and error.errno in FULL:
                raise UserError(
                    f"A run must be able to write its files; {error.filename or folder.path}: {error.strerror}.\n"
                    f"Free some space, then go on with: {(whole or folder).resume_command}"
                ) from error
            raise
        except (KeyboardInterrupt, SystemExit):
            if is_main_process():
                if folder.state() != "finished":
                    folder.write_status("interrupted", epoch=trainer.current_epoch + 1, step=trainer.global_step)
                log.warning("Interrupted. Go on with: %s", (whole or folder).resume_command)
            raise


def _fit(
    trainer: Trainer,
    module: FreezableModule,
    datamodule: TextDataModule,
    checkpoint: Path | None,
    folder: RunFolder,
    clock: Clock,
) -> dict[str, Any]:
    """Trains, from a checkpoint on if there is one, then validates and tests the best weights; returns their
    checkpoint."""
    from src.models.networks import check_state
    from src.runs.checkpoints import read_verified
    from src.training.divergence import diverged

    try:
        with clock("fit"):
            trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
    except RuntimeError as error:
        if "returned nan values" in str(error):  # found by trainer.detect_anomaly
            raise diverged(module, trainer.global_step + 1, str(error).rstrip(".")) from error
        raise
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):  # before the first step Lightning makes 1 of it
            raise SystemExit(130) from None
        raise
    with clock("test"):
        best = read_verified(folder.best_checkpoint)
        check_state(best["state_dict"], module.trained)
        module.load_state_dict(best["state_dict"], strict=False)
        trainer.validate(module, datamodule, verbose=False)
        trainer.test(module, datamodule, verbose=False)
    return best


def _import_libraries() -> None:
    """Imports what takes seconds, and keeps it quiet where it would only repeat what the run says itself."""
    first = "pytorch_lightning" not in sys.modules
    with without_collection():
        import pytorch_lightning  # noqa: F401

        import src.report.run  # noqa: F401

        if first:  # in a later run of the same process this would keep what the run before has left
            gc.freeze()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        r"Found \d+ module\(s\) in eval mode",  # they are frozen on purpose
        r"Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its own folder
        r"It is recommended to use .self\.log",  # scores are of the predictions of all processes already
        r"Glyph \d+ .* missing from font",  # a label in a script that the picture's font lacks
        r"Be aware that when using .ckpt_path",  # a resumed run may be given other callbacks
        r"You requested to overfit but enabled",  # every epoch is the first one again, in its order
        r"The number of training batches .* is smaller than the logging interval",  # epochs are logged in any case
        r".isinstance\(treespec, LeafSpec\). is deprecated",  # about Lightning's own code
    ):
        warnings.filterwarnings("ignore", message=message)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    try:
        folder = given_folder()
    except UserError as error:
        fail(str(error))
    if is_sweep_job():
        return run_job(cfg, folder)
    folder = own_folder(folder)
    try:
        train(cfg, folder)
    except UserError as error:
        if is_main_process():
            fail(str(error))
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        folder.discard_if_empty()
    return None


if __name__ == "__main__":
    with with_folder(sys.argv):
        run_command(main, "train", paths=("run",))
