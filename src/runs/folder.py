"""The run folder: writing and reading the files of a run."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config.folder import CONF
from src.config.quoting import shell_argument
from src.errors import UserError, reason
from src.files import locks
from src.files.atomic import create, json_values, sha256, write_atomic
from src.runs import saved_config
from src.runs.results import check_result, monitored_value

JOB = "THAW_JOB"  # environment variable of the jobs of a multirun


class RunFolder:
    """The files of a run: `config.yaml`, `status.json`, `result.json`, `train.log`, and the folders `predictions`,
    `checkpoints`, `tensorboard`, `report` and `model`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        return f"python -m src.train {shell_argument('run', self.path)} resume=true"

    def file(self, *parts: str) -> Path:
        """Returns the path of a file in the folder, and makes its parent folders."""
        file = self.path.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """The checkpoints that a run may have."""
        return self.last_checkpoint, self.best_checkpoint

    @property
    def model(self) -> Path:
        """The backbone and tokenizer of a pretraining or a run from scratch, in the format of transformers."""
        return self.path / "model"

    def digests(self) -> dict[str, str]:
        """Returns the SHA-256 of `best.ckpt` and of all files in `model`, by their path in the folder."""
        files = [self.best_checkpoint, *sorted(file for file in self.model.glob("*") if file.is_file())]
        return {path.relative_to(self.path).as_posix(): sha256(path) for path in files}

    def check_weights(self, result: dict[str, Any]) -> None:
        """Verifies the weights against the digests in result.json.

        Args:
            result: of the run.

        Raises:
            UserError: the weights are missing or have changed since the run ended.
        """
        try:
            found = self.digests()
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read: {error.strerror}.\nTrain the run again.") from None
        for name, digest in result.get("sha256", {}).items():
            if found.get(name) != digest:
                other = f"its SHA-256 is {found.get(name)}, in result.json it is {digest}"
                problem = other if name in found else "it is missing"
                raise UserError(
                    f"{self.path / name} must be unchanged since the run ended; {problem}.\n"
                    "Copy the run folder again from where it was trained."
                )

    def claim(self, config: DictConfig) -> None:
        """Claims the folder for this run by writing its config.

        Raises:
            UserError: the folder already has a run, or cannot be written.
        """
        try:
            if Path.cwd().is_relative_to(self.path.resolve()):  # a mistake, such as `run=` without a name
                raise UserError(
                    f"run must be a folder of its own; {self.path} is the current one.\nGive another: run=FOLDER."
                )
            # References stay references, so that the folder can be moved and no secret is written out.
            create(self.file("config.yaml"), OmegaConf.to_yaml(saved_config.as_written(config)))
        except FileExistsError:
            raise self._taken() from None
        except (OSError, ValueError) as error:  # names with a zero byte are no OSError
            why = getattr(error, "strerror", None) or error
            raise UserError(f"The run folder {self.path} cannot be written: {why}.\nChoose another: run=…") from None

    def refuse_taken(self) -> None:
        """
        Raises:
            UserError: the folder already has a run, which may be in training.
        """
        with contextlib.suppress(OSError):  # `claim` reports invalid names
            if (self.path / "config.yaml").exists():
                raise self._taken()

    def refuse_training(self) -> None:
        """
        Raises:
            UserError: another process trains the run, or the pretraining that is a part of it.
        """
        for file in (self.path / "config.yaml", *self.path.glob("*/config.yaml")):
            with contextlib.suppress(OSError):  # who may not write it is told so by `locked`
                if file.exists():
                    held = locks.acquire(file)
                    if held is None:
                        raise RunFolder(file.parent)._in_training()
                    locks.release(held)

    def _taken(self) -> UserError:
        try:
            self.refuse_training()
        except UserError as error:
            return error
        return UserError(
            f"{self.path} already has a run.\n"
            "To continue it: resume=true. To start another: remove run=…, or give a new folder."
        )

    def _in_training(self) -> UserError:
        status = self._status()
        # In its first seconds, a process that resumes a run has not replaced the status of the one before it yet.
        holder = locks.holder(status if status.get("state") == "running" else {})
        return UserError(
            f"Only one process at a time may train a run; {self.path} is being trained by {holder}.\n"
            "Wait for it, stop it, or start another run."
        )

    def saved_config(self, use: saved_config.Use = "training") -> DictConfig:
        """Returns the config of this run. It may come from elsewhere, so it may only build what conf/ builds, or what
        the user trusts.

        Args:
            use: what is done with it; what this does not build is not refused.

        Raises:
            UserError: it is missing, cannot be read, or would build something else.
        """
        file = self.path / "config.yaml"
        try:
            config = OmegaConf.create(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            wanted, where = f"{self.path} must be the folder of a run", "The runs are in outputs/runs"
            if not self.path.is_dir():
                raise UserError(f"{wanted}; it does not exist.\n{where}.") from None
            raise UserError(
                f"{wanted}; it has no config.yaml.\n{where}; if this is one, copy it again from where it was trained."
            ) from None
        except Exception as error:
            raise UserError(
                f"{file} must be the config of a run; it cannot be read: {reason(error)}.\n"
                "Copy the run folder again from where it was trained."
            ) from None
        if not isinstance(config, DictConfig):
            raise UserError(
                f"{file} must be the config of a run; it is not a mapping.\n"
                "Copy the run folder again from where it was trained."
            )
        return saved_config.checked(config, self.path, CONF, use)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the run for this process, and deletes temporary files of a process that was killed.

        Raises:
            UserError: another process holds the lock, or the folder cannot be written.
        """
        try:
            held = locks.acquire(self.path / "config.yaml")
        except OSError as error:  # a folder of others, a read-only file system, or one without locks
            raise UserError(
                f"The run folder {self.path} must be writable, and its file system have locks: {error.strerror}.\n"
                "Copy the folder to another place, or start a run there: run=FOLDER."
            ) from None
        if held is None:
            raise self._in_training()
        try:
            for leftover in (*self.path.glob(".*.*[0-9]"), *self.path.glob("checkpoints/.*.*[0-9]")):
                leftover.unlink()
            yield
        finally:
            locks.release(held)

    def write_status(self, state: str, **details: Any) -> None:
        """Writes status.json with the state of the run: `running`, `finished`, `failed` or `interrupted`."""
        self.write_json("status.json", {"state": state, **locks.about(), **details})

    def _status(self) -> dict[str, Any]:
        """Returns the content of status.json; empty where it is missing or cannot be read."""
        try:
            found = json.loads(self.status.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def state(self) -> str | None:
        """Returns the state of the run, from status.json; None where there is none."""
        found = self._status().get("state")
        return None if found is None else str(found)

    @property
    def is_reported(self) -> bool:
        """Whether the report of a finished run is complete, as far as it could be made."""
        return self._status().get("report") != "unfinished"

    def problem(self) -> str:
        """Returns why there is no result: the error or state in status.json."""
        status = self._status()
        return str(status.get("error") or status.get("state") or "ended before its first epoch")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes a JSON file atomically. Numbers that JSON cannot represent, such as NaN, become null."""
        write_atomic(self.file(name), json.dumps(json_values(content), indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """Returns the content of result.json.

        Raises:
            UserError: the run has no result that this version can read.
        """
        file = self.path / "result.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(self._why_no_result()) from None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{file} must be the result of a finished run; it cannot be read: {error}.\n"
                "Give the folder of a run that has finished."
            ) from None
        return check_result(content, str(file))

    def _why_no_result(self) -> str:
        wanted = f"{self.path} must be the folder with the result of a finished run"
        if not self.path.is_dir():
            return f"{wanted}; there is no such folder.\nThe runs are in outputs/runs."
        if not (self.path / "config.yaml").exists():
            return f"{wanted}; it has no run.\nThe runs are in outputs/runs."
        if self.state() == "finished":
            return f"{wanted}; result.json is missing.\nCopy the run folder again from where it was trained."
        error = self._status().get("error")
        state = f"its state is: {self.state() or 'not started'}{f' ({error})' if error else ''}"
        return f"{wanted}; {state}.\nTo continue it: {self.resume_command}"

    def monitored(self) -> float | None:
        """Returns the best value of the monitored metric; None if it is not in the result."""
        return monitored_value(self.read_result(), str(self.saved_config("reading").monitor.metric))

    def log_handler(self) -> logging.Handler:
        """Returns a handler that appends log records to train.log."""
        handler = logging.FileHandler(self.file("train.log"), encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        return handler

    def discard_if_empty(self) -> None:
        """Deletes the folder if nothing was written into it."""
        for folder in (self.path / "report", self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()
