"""`UserError`, parts of its messages, and which errors are about memory."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 40  # most words listed in a message
CLOSE = 0.6  # the likeness of words from which one is a misspelling of the other


class UserError(Exception):
    """A mistake of the user: what must hold, what was found, how to fix it. Ends a command with exit code 2."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was too small: that of a GPU, or that of the machine where it sets a limit."""
    of_torch = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    # torch.OutOfMemoryError by its name, for PyTorch takes seconds to import.
    return of_torch or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def reason(error: object) -> str:
    """Returns an exception's message as part of a sentence: on one line, without a full stop."""
    mark = getattr(error, "problem_mark", None)  # the position of a YAML error; its own message spans several lines
    message = " ".join(str(getattr(error, "problem", None) or error).split()).rstrip(".")
    return f"{message} on line {mark.line + 1}" if mark else message


def nearest(word: str, valid: Iterable[str], prefix: str = "") -> str:
    """Returns a sentence with the valid words that `word` begins or that are closest to it, after a prefix that every
    word needs; or with all valid words where none is close."""
    words = sorted(valid)
    if longer := [one for one in words if len(word) > 1 and one.startswith(word)]:
        return f"Did you mean {' or '.join(f'{prefix}{one}' for one in longer)}?"
    likeness = {one: difflib.SequenceMatcher(None, one, word).ratio() for one in words}
    highest = max(likeness.values(), default=0.0)
    if highest < CLOSE:
        return f"There are: {listed(words)}."
    return f"Did you mean {' or '.join(f'{prefix}{one}' for one in words if likeness[one] == highest)}?"


def listed(words: Iterable[str]) -> str:
    """Returns the words separated by commas; only the first `SHOWN` of them."""
    words = list(words)
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
