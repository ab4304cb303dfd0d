"""`UserError`, and parts of its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 40  # most words listed in a message


class UserError(Exception):
    """A mistake of the user: what must hold, what was found, how to fix it. Ends a command with exit code 2."""


def reason(error: object) -> str:
    """Returns an exception's message as part of a sentence: on one line, without a full stop."""
    mark = getattr(error, "problem_mark", None)  # the position of a YAML error; its own message spans several lines
    message = " ".join(str(getattr(error, "problem", None) or error).split()).rstrip(".")
    return f"{message} on line {mark.line + 1}" if mark else message


def nearest(word: str, valid: Iterable[str], prefix: str = "") -> str:
    """Returns a sentence with the valid word closest to `word`, after a prefix that every word needs; or with all valid
    words where none is close."""
    words = sorted(valid)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"Did you mean {prefix}{close[0]}?" if close else f"There are: {listed(words)}."


def listed(words: Iterable[str]) -> str:
    """Returns the words separated by commas; only the first `SHOWN` of them."""
    words = list(words)
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
