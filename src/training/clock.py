"""Wall time of the parts of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

TOTAL = "total"


class Clock:
    """Wall time by part of the run, in seconds."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self._begun: dict[str, float] = {}  # parts that are not over, and when they began

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self._begun[part] = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self._taken(part)
            del self._begun[part]

    def read(self) -> dict[str, float]:
        """Returns the seconds of each part so far, also of those that are not over, and of all together, `total`."""
        parts = dict.fromkeys([*self.seconds, *self._begun])
        return {TOTAL: time.perf_counter() - self.started, **{part: self._taken(part) for part in parts}}

    def add(self, earlier: Mapping[str, float]) -> None:
        """Adds what `read` has returned in an earlier process of the same run."""
        for part, seconds in earlier.items():
            if part == TOTAL:
                self.started -= seconds
            else:
                self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def _taken(self, part: str) -> float:
        now = time.perf_counter()
        return self.seconds.get(part, 0.0) + now - self._begun.get(part, now)
