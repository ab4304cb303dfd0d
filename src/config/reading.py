"""Which tokens of a text the encoder reads: truncation and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Truncation = Literal["head", "tail", "head_tail"]


WindowPooling = Literal["mean", "max", "attention"]


HEAD_TOKENS = 128  # that head_tail keeps of the beginning (Sun et al. 2019), of at least four times as many


@dataclass(frozen=True)
class Reading:
    """Which tokens of a text the encoder reads.

    Args:
        max_length: in tokens, special tokens included.
        truncation: which tokens of a longer text are kept: the first ones, the last ones, or some of both.
        stride: how many tokens two neighbouring windows of a longer text share; None: no windows.
        max_windows: of a text, from its beginning; None: all.
    """

    max_length: int
    truncation: Truncation = "head"
    stride: int | None = None
    max_windows: int | None = None

    @property
    def key(self) -> Any:
        """What a hash of tokens contains of it; the length alone where the first tokens are kept, as it always was."""
        if self.stride is not None:
            return [self.max_length, "windows", self.stride, self.max_windows]
        return self.max_length if self.truncation == "head" else [self.max_length, self.truncation]

    @property
    def first(self) -> int | None:
        """How many tokens of the beginning of a longer text are kept, without special ones; None: of nothing else."""
        return {"head": None, "tail": 0, "head_tail": min(HEAD_TOKENS, self.max_length // 4)}[self.truncation]

    def __str__(self) -> str:
        """What is read of a text that is too long, in words."""
        if self.stride is not None:
            return f"the first {self.max_windows} windows of {self.max_length} tokens"
        first = self.first if self.truncation == "head_tail" else 0
        kept = {"head": "", "tail": ", the last of them", "head_tail": f", the first {first} of them and the last"}
        return f"{self.max_length} tokens{kept[self.truncation]}"
