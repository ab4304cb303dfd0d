"""The time that a run has taken, which its processes take together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning import Callback


class Seconds(Callback):
    """Keeps in each checkpoint how long the parts of the run have taken, so that a resumed run counts on from there.

    Args:
        read: returns the seconds so far, by part.
        add: is given those of the checkpoint that a run is resumed from.
    """

    def __init__(self, read: Callable[[], dict[str, float]], add: Callable[[Mapping[str, float]], None]) -> None:
        self.read, self.add = read, add

    def state_dict(self) -> dict[str, Any]:
        return {"by_part": self.read()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.add(state_dict["by_part"])
