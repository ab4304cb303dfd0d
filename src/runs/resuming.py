"""The config of a run that is to go on: as it was saved, apart from what may be given anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runs import write_guard
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.runs.new_folder import is_named


def resumed(cfg: DictConfig, folder: RunFolder) -> DictConfig:
    """The config of the run to go on with, with what is given anew.

    Args:
        cfg: of the command.
        folder: of the run.

    Raises:
        UserError: the run has finished, cannot be trusted to stay in its folder, or may not be changed like this.
    """
    if not (folder.path / "config.yaml").exists() and not is_named():
        raise UserError("resume=true goes on with a run; none is named.\nGive run=FOLDER; runs are in outputs/runs.")
    saved = folder.saved_config()
    write_guard.refuse_links(folder.path.rglob("*"), folder.path)
    same = config_hash(cfg) == config_hash(saved)  # the whole command again changes nothing
    changes = [] if same else _changes(saved, folder)
    if folder.state() == "finished" and folder.is_shown and not changes:
        raise UserError(f"{folder.path} is finished.\nTrain it longer with {_longer(folder)}, or start a new run.")
    given_again: dict[str, Any] = {"resume": cfg.resume}
    if chosen := [change for change in changes if change.startswith("callbacks=")]:
        saved.callbacks = OmegaConf.to_container(cfg.callbacks, resolve=False)
        changes = [change for change in changes if change not in chosen]
    if "tokenizer" in saved.backbone and any(file.exists() for file in folder.checkpoints):
        given_again["backbone"] = {"tokenizer": str(folder.model)}
    # What the whole command says is the user's own, whatever it is.
    found = OmegaConf.merge(cfg if same else saved, OmegaConf.from_dotlist(changes), given_again)
    assert isinstance(found, DictConfig)
    return found


def _longer(folder: RunFolder) -> str:
    """What has to be raised so that a finished run trains on."""
    by = folder.read_result().get("ended", {}).get("by", "max_epochs")
    if by == "early_stopping":
        return "callbacks.early_stopping.patience=N or callbacks=no_early_stopping"
    return f"trainer.{by}=N"


@contextlib.contextmanager
def suits(file: Path) -> Iterator[None]:
    """
    Args:
        file: the checkpoint whose content is looked at within.

    Raises:
        UserError: it lacks something, or is that of another network.
    """
    try:
        yield
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(
            f"{file} must be a checkpoint that this run has left; it is not: {reason}\n"
            "Copy the run folder again from where it was trained, or start a new run."
        ) from None


def _changes(saved: DictConfig, folder: RunFolder) -> list[str]:
    """What is given anew for a resumed run.

    Args:
        saved: the config of the run.
        folder: of the run.

    Raises:
        UserError: it may not be changed, or is missing, or the run would write outside of its folder.
    """
    given = [str(o) for o in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    changes = [o for o in given if not o.startswith(("run=", "resume="))]
    if refused := sorted({*changes} - {*write_guard.changeable(saved, changes)}):
        raise UserError(
            "A resumed run keeps its config, apart from values of trainer, callbacks and logger; "
            f"got {', '.join(refused)}.\nStart a new run for that."
        )
    write_guard.check_resumable(saved, folder.path, [o.partition("=")[0] for o in changes])
    return changes
