"""The config of a resumed run: the saved one, with the overrides that are allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runs import write_guard
from src.runs.folder import RunFolder
from src.runs.identity import config_hash
from src.runs.new_folder import is_named


def resumed(cfg: DictConfig, folder: RunFolder, given: Sequence[str]) -> DictConfig:
    """Returns the config of the run to resume, with the overrides of the command.

    Args:
        cfg: of the command.
        folder: of the run.
        given: the overrides of the command.

    Raises:
        UserError: the run has finished, could write outside of its folder, or an override is not allowed.
    """
    if not (folder.path / "config.yaml").exists() and not is_named():
        raise UserError(
            "resume=true needs a run to continue; none is named.\nGive run=FOLDER; runs are in outputs/runs."
        )
    saved = folder.saved_config()
    write_guard.refuse_links(folder.path.rglob("*"), folder.path)
    same = config_hash(cfg) == config_hash(saved)  # repeating the original command changes nothing
    changes = [] if same else _changes(saved, folder, given)
    if folder.state() == "finished" and folder.is_reported and not changes:
        raise UserError(f"{folder.path} is finished.\nTrain it longer with {_longer(folder)}, or start a new run.")
    given_again: dict[str, Any] = {"resume": cfg.resume}
    if chosen := [change for change in changes if change.startswith("callbacks=")]:
        saved.callbacks = OmegaConf.to_container(cfg.callbacks, resolve=False)
        changes = [change for change in changes if change not in chosen]
    if "tokenizer" in saved.backbone and any(file.exists() for file in folder.checkpoints):
        given_again["backbone"] = {"tokenizer": str(folder.model)}
    if commit := _commit(folder):
        given_again["backbone"] = {"revision": commit}
    # A repeated command comes from the user and is trusted as a whole.
    found = OmegaConf.merge(cfg if same else saved, OmegaConf.from_dotlist(changes), given_again)
    assert isinstance(found, DictConfig)
    return found


def _commit(folder: RunFolder) -> str | None:
    """Returns the commit on the hub of the backbone that a finished run was trained with."""
    if not (folder.path / "result.json").exists():
        return None
    backbone = folder.read_result().get("backbone") or {}
    return str(backbone["revision"]) if backbone.get("revision") else None


def _longer(folder: RunFolder) -> str:
    """What has to be raised so that a finished run trains on."""
    by = folder.read_result().get("ended", {}).get("by", "max_epochs")
    if by == "early_stopping":
        return "callbacks.early_stopping.patience=N or callbacks=no_early_stopping"
    return "other options of the callback that ended it" if by == "callback" else f"trainer.{by}=N"


@contextlib.contextmanager
def checkpoint_errors(file: Path) -> Iterator[None]:
    """Turns errors of the block, which loads the content of a checkpoint, into a `UserError`.

    Args:
        file: the checkpoint.

    Raises:
        UserError: it lacks something, or belongs to another network.
    """
    try:
        yield
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(
            f"{file} must be a checkpoint of this run; it is not: {reason}\n"
            "Copy the run folder again from where it was trained, or start a new run."
        ) from None


def _changes(saved: DictConfig, folder: RunFolder, given: Sequence[str]) -> list[str]:
    """Returns the overrides for a resumed run.

    Args:
        saved: the config of the run.
        folder: of the run.
        given: the overrides of the command.

    Raises:
        UserError: an override is not allowed, or a required one is missing, or the run would write outside of its
            folder.
    """
    changes = [o for o in given if not o.startswith(("run=", "resume="))]
    if refused := sorted({*changes} - {*write_guard.changeable(saved, changes)}):
        raise UserError(
            "A resumed run keeps its config, except backbone.revision and values of trainer, callbacks and logger; "
            f"got {', '.join(refused)}.\nStart a new run for that."
        )
    write_guard.check_resumable(saved, folder.path, [o.partition("=")[0] for o in changes])
    return changes
