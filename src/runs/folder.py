"""The run folder: what a run leaves behind, and how it is read back."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config.folder import CONF
from src.config.quoting import shell_argument
from src.errors import UserError, reason
from src.files import locks
from src.files.atomic import plain, sha256, write_whole
from src.runs import saved_config
from src.runs.results import check_result, watched


class RunFolder:
    """One run's files. `config.yaml`, `status.json`, `result.json`, `train.log`, and the folders `predictions`,
    `checkpoints`, `tensorboard`, `report` and `model`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def go_on(self) -> str:
        """The command that goes on with the run."""
        return f"python -m src.train {shell_argument('run', self.path)} resume=true"

    def file(self, *parts: str) -> Path:
        """The path of a file in the folder; the folders on the way are made."""
        file = self.path.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """All that there may be."""
        return self.last_checkpoint, self.best_checkpoint

    @property
    def model(self) -> Path:
        """A backbone with its tokenizer, as transformers reads it: of runs that pretrain one or start from scratch."""
        return self.path / "model"

    def digests(self) -> dict[str, str]:
        """The SHA-256 of the weights that others read, and of all of `model`, by their path in the folder."""
        files = [self.best_checkpoint, *sorted(file for file in self.model.glob("*") if file.is_file())]
        return {path.relative_to(self.path).as_posix(): sha256(path) for path in files}

    def check_weights(self, result: dict[str, Any]) -> None:
        """
        Args:
            result: of the run.

        Raises:
            UserError: the weights are missing, or are not those that the run has left.
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
                    f"{self.path / name} must be as the run has left it; {problem}.\n"
                    "Copy the run folder again from where it was trained."
                )

    def claim(self, config: DictConfig) -> None:
        """Makes the folder this run's, by writing its config.

        Raises:
            UserError: the folder holds a run already, or cannot be written.
        """
        try:
            if Path.cwd().is_relative_to(self.path.resolve()):  # not meant, such as by run= without a name
                raise UserError(
                    f"run must be a folder of its own; {self.path} is the current one.\nGive another: run=FOLDER."
                )
            with self.file("config.yaml").open("x", encoding="utf-8") as file:
                # References stay references, so that the folder can be moved and no secret is written out.
                file.write(OmegaConf.to_yaml(saved_config.as_written(config)))
        except FileExistsError:
            raise self._taken() from None
        except (OSError, ValueError) as error:  # names with a zero byte are no OSError
            why = getattr(error, "strerror", None) or error
            raise UserError(f"The run folder {self.path} cannot be written: {why}.\nChoose another: run=…") from None

    def refuse_taken(self) -> None:
        """
        Raises:
            UserError: the folder holds a run already, which may be in training.
        """
        with contextlib.suppress(OSError):  # names that no folder can have are for `claim` to tell
            if (self.path / "config.yaml").exists():
                raise self._taken()

    def _taken(self) -> UserError:
        with contextlib.suppress(PermissionError):
            held = locks.take(self.path / "config.yaml")
            if held is None:
                return self._in_training()
            locks.give_back(held)
        return UserError(
            f"{self.path} holds a run already.\n"
            "Go on with it: resume=true. Start another: leave run=… out, or give a new folder."
        )

    def _in_training(self) -> UserError:
        status, holder = self._status(), "another process"
        # For its first seconds, a process that goes on with a run has not written over what the one before it said.
        if status.get("state") == "running" and locks.may_live(status.get("pid"), status.get("host")):
            holder = f"process {status.get('pid')} on {status.get('host')}, since {status.get('time')}"
        return UserError(
            f"Only one process at a time may train a run; {self.path} is being trained by {holder}.\n"
            "Wait for it or end it, or start another run."
        )

    def saved_config(self) -> DictConfig:
        """The config this run was started with: data from elsewhere, so it may only build what conf/ builds.

        Raises:
            UserError: there is none, it cannot be read, or it names something that conf/ does not.
        """
        file = self.path / "config.yaml"
        try:
            config = OmegaConf.create(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{self.path} must be the folder of a run; it has no config.yaml.\n"
                "The runs are in outputs/runs; if this is one, copy it again from where it was trained."
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
        return saved_config.checked(config, self.path, CONF)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the run to this process, and takes away what one that was killed in the middle of a file has left.

        Raises:
            UserError: another process has it, or the folder cannot be written.
        """
        try:
            held = locks.take(self.path / "config.yaml")
        except PermissionError as error:
            raise UserError(f"The run folder {self.path} must be one that can be written: {error}.") from None
        if held is None:
            raise self._in_training()
        try:
            for leftover in (*self.path.glob(".*.*[0-9]"), *self.path.glob("checkpoints/.*.*[0-9]")):
                leftover.unlink()
            yield
        finally:
            locks.give_back(held)

    def write_status(self, state: str, **details: Any) -> None:
        """Says where the run stands: `running`, `finished`, `failed` or `interrupted`."""
        about = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "pid": os.getpid(), "host": platform.node()}
        self.write_json("status.json", {"state": state, **about, **details})

    def _status(self) -> dict[str, Any]:
        """What status.json says; empty where there is none that can be read."""
        try:
            found = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def state(self) -> str | None:
        """Where status.json says that the run stands; None where there is none."""
        found = self._status().get("state")
        return None if found is None else str(found)

    @property
    def is_shown(self) -> bool:
        """Whether a finished run has made all that shows its result, as far as that could be made."""
        return self._status().get("report") != "unfinished"

    def problem(self) -> str:
        """Why there is no result, as far as the run itself could say."""
        status = self._status()
        return str(status.get("error") or status.get("state") or "ended before its first epoch")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes a file whole or not at all. Values that JSON has no word for, such as NaN, become null."""
        write_whole(self.file(name), json.dumps(plain(content), indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """
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
            return f"{wanted}; no run is in it.\nThe runs are in outputs/runs."
        if self.state() == "finished":
            return f"{wanted}; result.json is missing.\nCopy the run folder again from where it was trained."
        state = f"its state is: {self.state() or 'not begun'}"
        return f"{wanted}; {state}.\nGo on with it: {self.go_on}"

    def monitored(self) -> float | None:
        """The best value of the metric that the run watched; None if it is not in the result."""
        return watched(self.read_result(), str(self.saved_config().monitor.metric))

    def log_handler(self) -> logging.Handler:
        """Appends what is logged to train.log."""
        handler = logging.FileHandler(self.file("train.log"), encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        return handler

    def discard_if_empty(self) -> None:
        """Takes the folder away again if nothing was written into it."""
        for folder in (self.path / "report", self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()
