"""The style of figures: colours, names that fit, text that is no formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

BLUE, ORANGE = "#0072b2", "#d55e00"  # told apart by colour-blind readers too


LONGEST = 36  # characters of a group's or a label's name


MOST = 40  # labels or groups that a picture has room for


def literal(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def short(name: str) -> str:
    """A name as text that leaves room for a plot: groups of runs that differ in much have names of many values."""
    return literal(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…")
