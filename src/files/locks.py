"""Locks that the system takes from a process when it ends, however it ends; and whether one may still be there."""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path
from typing import TextIO

HELD: list[TextIO] = []  # the locks of this process


def take(path: Path) -> TextIO | None:
    """Keeps a file to this process until it is given back or the process ends; None if another process has it.

    Raises:
        OSError: the file cannot be opened for writing.
    """
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    HELD.append(file)
    return file


def give_back(file: TextIO) -> None:
    HELD.remove(file)
    file.close()


def may_live(pid: object, host: object) -> bool:
    """Whether a process may still be there; on another machine it may."""
    if host != platform.node():
        return True
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _leave_to_parent() -> None:
    for file in HELD:
        file.close()


# Workers that read data outlive a killed process by seconds; its locks must not live on in them.
os.register_at_fork(after_in_child=_leave_to_parent)
