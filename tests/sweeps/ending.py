"""A job for tests, `python -m tests.sweeps.ending HOW`, which ends in one of many ways."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path


def end(how: str) -> None:
    print(f"out of {how}", flush=True)
    if how == "surroundings":
        about = (sys.argv[1:], Path.cwd().name, os.environ.get("COLOUR"), os.environ.get("JE_ARROW_MALLOC_CONF"))
        handlers = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
        sys.exit(f"{about} {handlers} {multiprocessing.get_start_method()}")
    if how == "chatter":
        for number in range(20):
            print(f"line {number}", file=sys.stderr)
    if how == "bug":
        raise RuntimeError("out of luck")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    if how.isdecimal():
        sys.exit(int(how))


if __name__ == "__main__":
    end(sys.argv[1])
