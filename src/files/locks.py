"""File locks that the system releases when their process ends, however it ends; and whether a process is alive."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

HELD: list[TextIO] = []  # locks of this process


def acquire(path: Path) -> TextIO | None:
    """Locks a file for this process until it is released or the process ends.

    Returns:
        The lock; None if another process holds it.

    Raises:
        OSError: the file cannot be opened for writing, or its file system has no locks.
    """
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    HELD.append(file)
    return file


def release(file: TextIO) -> None:
    HELD.remove(file)
    file.close()


def about() -> dict[str, Any]:
    """Returns what is written down of this process where it holds a lock."""
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "pid": os.getpid(), "host": platform.node()}


def holder(known: Mapping[str, Any]) -> str:
    """Returns who holds a lock, in words.

    Args:
        known: what the last holder has written down of itself; it may be of one that has ended.
    """
    if "pid" in known and may_be_alive(known["pid"], known.get("host")):
        return f"process {known['pid']} on {known.get('host')}, since {known.get('time')}"
    return "another process"


def may_be_alive(pid: object, host: object) -> bool:
    """Whether a process may still be alive; True on another machine, where it cannot be checked."""
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


# DataLoader workers outlive a killed process by seconds and must not keep its locks.
os.register_at_fork(after_in_child=_leave_to_parent)
