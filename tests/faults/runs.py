"""Trainings as whole processes that are killed or told to stop at a chosen moment.

They are forked from a process that has imported everything, so that a run takes a second or two instead of ten.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

OUTPUT, ROWS = "output.txt", "rows.jsonl"
Hook = Callable[..., Any]
PRELOADED = [
    "datasets",
    "torch.utils.tensorboard",
    "src.training.build",
    "src.sweeps.jobs",
    "src.report.run",
    "src.callbacks.phases",
    "src.modules.classifier",
    "transformers.models.bert.modeling_bert",
]


@dataclass(frozen=True)
class Moment:
    """The `count`-th call of a function ("module:name", before it does anything) or of a hook of Lightning's callbacks
    ("name"), and what happens to the process then: it gets a signal, so many times, or something of its surroundings
    changes."""

    place: str
    count: int = 1
    number: int = signal.SIGKILL
    times: int = 1
    instead: Callable[[], None] | None = None

    def strike(self) -> None:
        if self.instead:
            self.instead()
            return
        for _ in range(self.times):
            os.kill(os.getpid(), self.number)
        if self.number == signal.SIGKILL:
            time.sleep(60)


@dataclass
class Ended:
    """A run that is over."""

    code: int  # as a shell gives it
    output: str
    folder: Path
    rows: Path
    seconds: float

    def result(self) -> dict[str, Any]:
        assert self.code == 0, self.output
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return found

    def batches(self) -> dict[str, list[int]]:
        """The rows of each batch, by epoch and number; a batch that was taken twice was the same twice."""
        found: dict[str, list[int]] = {}
        for line in self.rows.read_text().splitlines():
            place, rows = json.loads(line)
            assert found.setdefault(place, rows) == rows
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        """The tensors of both checkpoints."""
        states = {n: torch.load(self.folder / "checkpoints" / f"{n}.ckpt", weights_only=True) for n in ("last", "best")}
        return {f"{n}/{key}": value for n, state in states.items() for key, value in state["state_dict"].items()}


@dataclass
class Training:
    """A run that can be started and gone on with. What it says, and the rows it sees, are written down in `root`."""

    root: Path
    folder: Path
    options: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, moment: Moment | None = None, resume: bool = False, ordinary: bool = False) -> Any:
        arguments = [f"run={self.folder}", *self.options, *(["resume=true"] if resume else [])]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_run, args=(arguments, self.root, moment, self.environment, ordinary))
        process.start()
        return process

    def wait(self, process: Any) -> Ended:
        begin = time.monotonic()
        process.join(300)
        assert process.exitcode is not None, "still running"
        code = process.exitcode if process.exitcode >= 0 else 128 - process.exitcode
        said = self.root / OUTPUT
        return Ended(
            code, said.read_text() if said.exists() else "", self.folder, self.root / ROWS, time.monotonic() - begin
        )

    def __call__(self, moment: Moment | None = None, resume: bool = False, ordinary: bool = False) -> Ended:
        return self.wait(self.start(moment, resume, ordinary))


def _run(arguments: list[str], root: Path, moment: Moment | None, environment: dict[str, str], ordinary: bool) -> None:
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of the workers that read data, as in a run from the shell
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["src.train", *arguments]
    with (root / OUTPUT).open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if ordinary:
        become_ordinary()
    code: Any = 0
    try:
        _watch(root / ROWS, moment)
        runpy.run_module("src.train", run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))


def become_ordinary() -> Callable[[], None]:
    """Root may read and write what nobody may. Without these capabilities of Linux it is refused like others.

    Returns:
        Gives them back.
    """
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    effective = sets[0]
    sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    libc.capset(header, sets)

    def undo() -> None:
        sets[0] = effective
        libc.capset(header, sets)

    return undo


def _watch(rows: Path, moment: Moment | None) -> None:
    """Writes down the rows of every batch, and strikes at the moment."""
    from pytorch_lightning import Callback

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            with rows.open("a") as file:
                seen = batch["rows"] if "rows" in batch else batch["input_ids"]
                file.write(json.dumps([f"{trainer.current_epoch}/{batch_idx}", seen.tolist()]) + "\n")

    from src.training import trainer as trainers

    real, callback = trainers.build_trainer, Watch()
    if moment and ":" in moment.place:
        module, _, name = moment.place.partition(":")
        loaded = importlib.import_module(module)
        setattr(loaded, name, _striking(getattr(loaded, name), moment))
    elif moment:
        setattr(callback, moment.place, _striking(getattr(callback, moment.place), moment))

    def built(*given: Any) -> Any:
        trainer = real(*given)
        trainer.callbacks.insert(0, callback)
        return trainer

    trainers.build_trainer = built


def _striking(function: Hook, moment: Moment) -> Hook:
    calls = 0

    def wrapped(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == moment.count:
            moment.strike()
        return function(*given, **named)

    return wrapped
