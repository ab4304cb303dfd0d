"""Mistakes of the user, and how they are worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 40  # words that a message lists


class UserError(Exception):
    """A mistake of the user: what must hold, what was found, how to fix it. Ends a command with exit code 2."""


def nearest(word: str, valid: Iterable[str]) -> str:
    """A sentence that names the valid word closest to `word`, or what there is where none is close."""
    words = sorted(valid)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"There are: {listed(words)}."


def listed(words: Iterable[str]) -> str:
    """The words with commas between them; only the first where there are very many."""
    words = list(words)
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
