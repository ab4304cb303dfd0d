"""Mistakes of the user, and how they are worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 40  # words that a message lists


class UserError(Exception):
    """A mistake of the user: what must hold, what was found, how to fix it. Ends a command with exit code 2."""


def reason(error: object) -> str:
    """What an exception says, as a part of a sentence: on one line, without a full stop."""
    mark = getattr(error, "problem_mark", None)  # where a YAML file goes wrong, which the exception itself draws
    said = " ".join(str(getattr(error, "problem", None) or error).split()).rstrip(".")
    return f"{said} on line {mark.line + 1}" if mark else said


def nearest(word: str, valid: Iterable[str]) -> str:
    """A sentence that names the valid word closest to `word`, or what there is where none is close."""
    words = sorted(valid)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"There are: {listed(words)}."


def listed(words: Iterable[str]) -> str:
    """The words with commas between them; only the first where there are very many."""
    words = list(words)
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
