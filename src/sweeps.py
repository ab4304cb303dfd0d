"""The jobs of a sweep: each in a process of its own, none of them twice.

A launcher decides where and when jobs run (`hydra/launcher=…`); all that a job is given is a folder and its overrides,
so one that raises, is killed or runs out of memory costs only itself.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from src.runs import RunFolder, config_hash

SWEEPS = Path("outputs/sweeps")
COMMAND = "command.json"  # in a sweep's folder: what it was started with
HELD: list[TextIO] = []  # the locks of this process
LINES = 12  # of what a failed job said last


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether a command starts a sweep whose folder is still to be chosen."""
    starts = {"-m", "--multirun"} & set(arguments) or any(a.startswith("sweep=") for a in arguments)
    return bool(starts) and not any(a.startswith(("hydra.sweep.dir=", "--cfg", "-c")) for a in arguments)


def choose_folder(arguments: Sequence[str], root: Path = SWEEPS) -> Path:
    """The folder of a sweep: that of the same command before, whose finished jobs are then not run again, or a new one.

    Args:
        arguments: of the command, without its name.
        root: where sweeps are.
    """
    command = sorted(a for a in arguments if not a.startswith(("sweep.rerun=", "-")))
    if "sweep.rerun=all" not in arguments:
        for file in sorted(root.glob(f"*/{COMMAND}"), reverse=True):
            if json.loads(file.read_text(encoding="utf-8")) == command and _hold(file.parent):
                print(f"Going on with {file.parent} (sweep.rerun=all starts anew)")
                return file.parent
    root.mkdir(parents=True, exist_ok=True)
    name, number = time.strftime("%Y-%m-%d_%H-%M-%S"), 1
    while True:
        folder = root / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()  # of two sweeps that start in the same second, one gets the name
        except FileExistsError:
            number += 1
            continue
        _hold(folder)
        (folder / COMMAND).write_text(json.dumps(command, indent=1), encoding="utf-8")
        return folder


def _hold(folder: Path) -> bool:
    """Keeps a sweep's folder to this process for as long as it lives; False if another process has it."""
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    HELD.append(file)
    return True


def run_job(cfg: DictConfig, folder: RunFolder) -> float | None:
    """Runs one job in a process of its own, unless its result is there.

    Args:
        cfg: of the run.
        folder: that the launcher has for it; a job that is in another folder of the sweep goes on there.

    Returns:
        The best value of the monitored metric, for sweepers that look for it; None for a job that failed.
    """
    folder = _place(cfg, folder)
    if folder.state() == "finished":
        print(f"{folder.path} is finished already")
        return _monitored(folder)
    resume = folder.last_checkpoint.exists()
    if folder.path.exists() and not resume:
        shutil.rmtree(folder.path)
    given = [o for o in HydraConfig.get().overrides.task if not o.startswith(("run=", "resume="))]
    overrides = ["resume=true"] if resume else given
    code, said = run_process(["-m", "src.train", *overrides, f"run={folder.path}", "hydra.mode=RUN"])
    if code == 0:
        return _monitored(folder)
    if code in (130, 143):
        raise SystemExit(code)
    if not (folder.path / "config.yaml").exists():
        with open_dict(cfg):
            cfg.run = str(folder.path)
        folder.claim(cfg)
    folder.write_status("failed", error=_reason(code, folder, said), log=said)
    return None


def run_process(arguments: Sequence[str]) -> tuple[int, str]:
    """A Python process with this one's terminal: its exit code, and the last lines that it wrote to standard error."""
    with subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        last: list[str] = []
        for line in process.stderr:
            sys.stderr.write(line)
            last = [*last, line.rstrip()][-LINES:]
    return process.returncode, "\n".join(last)


def _place(cfg: DictConfig, folder: RunFolder) -> RunFolder:
    """The folder of this job by its config, or the first number that is free from the launcher's on."""
    wanted, taken = config_hash(cfg), set()
    for file in folder.path.parent.glob("*/config.yaml"):
        taken.add(file.parent.name)
        if config_hash(RunFolder(file.parent).saved_config()) == wanted:
            return RunFolder(file.parent)
    number = int(folder.name) if folder.name.isdecimal() else 0
    while str(number) in taken:
        number += 1
    return RunFolder(folder.path.parent / str(number)) if folder.name in taken else folder


def _monitored(folder: RunFolder) -> float | None:
    cfg, result = folder.saved_config(), folder.read_result()
    split, _, score = str(cfg.monitor.metric).partition("/")
    value = result["metrics"].get(split, {}).get(score)
    return None if value is None else float(value)


def _reason(code: int, folder: RunFolder, said: str) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code == 2:
        return said.splitlines()[0] if said else "refused"
    found = folder.problem()
    return found if ":" in found else f"exit code {code}: {said.splitlines()[-1] if said else 'it said nothing'}"


def is_sweep_job() -> bool:
    """Whether this process was asked to run a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
