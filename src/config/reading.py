"""Which tokens of a text the encoder reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Truncation = Literal["head", "tail", "head_tail"]


HEAD_TOKENS = 128  # that head_tail keeps of the beginning (Sun et al. 2019), of at least four times as many


@dataclass(frozen=True)
class Reading:
    """Which tokens of a text the encoder reads.

    Args:
        max_length: in tokens, special tokens included.
        truncation: which tokens of a longer text are kept: the first ones, the last ones, or some of both.
    """

    max_length: int
    truncation: Truncation = "head"

    @property
    def key(self) -> Any:
        """What a hash of tokens contains of it; the length alone where the first tokens are kept, as it always was."""
        return self.max_length if self.truncation == "head" else [self.max_length, self.truncation]

    @property
    def first(self) -> int | None:
        """How many tokens of the beginning of a longer text are kept, without special ones; None: of nothing else."""
        return {"head": None, "tail": 0, "head_tail": min(HEAD_TOKENS, self.max_length // 4)}[self.truncation]

    @property
    def kept(self) -> str:
        """Which tokens are kept, as the end of a clause; empty for the first ones."""
        if self.truncation == "head_tail":
            return f", the first {self.first} of them and the last"
        return ", the last of them" if self.truncation == "tail" else ""
