"""The process of a job: forked from one that has imported everything already, where that is safe, or a new one."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

log = logging.getLogger(__name__)

LINES = 12  # of a job's standard error, kept
TEMPLATE = "src.sweeps.template"
# Its environment: locks that other threads hold would stay locked in forked processes.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


def run_process(arguments: Sequence[str], variables: Mapping[str, str], warm: bool) -> tuple[int, str]:
    """Runs a Python process in this terminal.

    Args:
        arguments: of Python; `-m MODULE …` if it is warm.
        variables: of its environment, besides those of this process.
        warm: fork it from a process that has imported what a training imports, if that is safe.

    Returns:
        Its exit code, negative for a signal, and the last lines of its standard error.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    job = _start(arguments, {**os.environ, **variables}, writer, warm)
    writer.close()
    last: list[str] = []
    asked: BaseException | None = None
    with reader, open(reader.fileno(), errors="replace", closefd=False) as errors:
        while True:
            try:
                for line in errors:
                    sys.stderr.write(line)
                    last = [*last, line.rstrip()][-LINES:]
                code = job.wait()
                break
            except (KeyboardInterrupt, SystemExit) as ended:
                if asked or isinstance(ended, SystemExit):  # at the first Ctrl-C the terminal signals the job too
                    job.terminate()
                asked = ended
    if asked:
        raise asked
    return code, "\n".join(last)


def _start(
    arguments: Sequence[str], environment: Mapping[str, str], errors: Connection, warm: bool
) -> Forked | subprocess.Popen[bytes]:
    if warm:
        with contextlib.suppress(OSError, EOFError), _variables({**environment, **ONE_THREAD}):
            if _template_is_safe():
                job = Forked(arguments, environment, errors)
                job.start()
                return job
    return subprocess.Popen([sys.executable, *arguments], env=environment, stderr=errors.fileno())


@contextlib.contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Gives this process another environment; the template has that of the moment in which it is started."""
    before = {**os.environ}
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def _template_is_safe() -> bool:
    """Whether jobs can be forked from the template, which this starts; if not, the log says why."""
    problem = _ask_template() if sys.platform == "linux" else "this is not Linux"
    if problem:
        log.warning("Each job imports all libraries itself, since none can be forked: %s.", problem)
    return not problem


def _ask_template() -> str:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([TEMPLATE])
    reader, writer = context.Pipe(duplex=False)
    with reader, writer:
        try:
            context.Process(target=_answer, args=(writer,)).start()
            writer.close()
            return str(reader.recv())
        except (OSError, EOFError) as error:
            return f"their template has ended ({error!r})"


def _answer(asker: Connection) -> None:
    """Sends why processes like this one, forked from the template, are not safe; nothing if they are."""
    import torch

    threads = len([*Path(f"/proc/{os.getppid()}/task").iterdir()])
    problems = {
        "their template cannot import what they need": TEMPLATE not in sys.modules,
        f"their template has {threads} threads": threads > 1,
        "their template uses CUDA": torch.cuda._is_in_bad_fork(),
    }
    asker.send(next((problem for problem, found in problems.items() if found), ""))


class Forked(ForkServerProcess):
    """A Python process that is forked from the template.

    Args:
        arguments: `-m MODULE …`.
        environment: its variables.
        errors: its standard error.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], errors: Connection) -> None:
        super().__init__()
        self.arguments, self.environment, self.errors = [*arguments[1:]], {**environment}, errors
        self.output, self.folder = Connection(os.dup(1), readable=False), Path.cwd()

    def run(self) -> None:
        """Makes of this process what a new one is when it starts, and runs the module."""
        for stream, number in ((self.output, 1), (self.errors, 2)):
            os.dup2(stream.fileno(), number)
            stream.close()
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        multiprocessing.set_start_method(None, force=True)
        sys.argv = self.arguments
        runpy.run_module(self.arguments[0], run_name="__main__", alter_sys=True)

    def wait(self) -> int:
        """Waits until it has ended, and returns its exit code, negative for a signal."""
        self.join()
        assert self.exitcode is not None
        return self.exitcode
