"""Where a run logs to: the terminal, and train.log in its folder."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from typing import Any

from src.cli import exit_broken_pipe
from src.files.ranks import is_main_process


class _Terminal(logging.StreamHandler[Any]):
    """Standard output."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            exit_broken_pipe()
        super().handleError(record)


@contextlib.contextmanager
def run_log() -> Iterator[logging.handlers.MemoryHandler]:
    """Logs to the terminal, and holds everything back for train.log until there is a run folder."""
    root = logging.getLogger()
    terminal = _Terminal(sys.stdout)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    memory = logging.handlers.MemoryHandler(capacity=1, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    for client in ("httpx", "httpx2"):  # of the Hugging Face hub; they log every request
        logging.getLogger(client).setLevel(logging.WARNING)
    before = root.level
    root.setLevel(logging.INFO if is_main_process() else logging.WARNING)
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
