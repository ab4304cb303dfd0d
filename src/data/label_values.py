"""Label values in files: texts, which are kept as written, or numbers, truth values and dates, which can be written in
several ways."""

from __future__ import annotations

import functools
import logging
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from src.errors import listed

log = logging.getLogger(__name__)

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")  # not 01, +1 or 1e2: these may be codes
MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]00:00:00(?:\.0+)?")
FILLERS = "\u034f\u115f\u1160\u2800\u3164\uffa0"  # invisible letters and marks
SHOWN = 8  # most groups of labels in a warning


class Value(NamedTuple):
    """A label of a row."""

    name: str  # of the label
    written: str  # as in the file
    typed: bool  # a number, truth value or date in the file, not a text

    def __str__(self) -> str:
        """As in messages: only texts are in quotes."""
        return self.written if self.typed else repr(self.name)


@functools.lru_cache(maxsize=1 << 16, typed=True)  # 1, 1.0 and True are equal, but not the same label
def value(raw: Any) -> Value:
    """Returns the label value of a cell. Whitespace around a text is stripped; whitespace in it, line breaks included,
    becomes one space."""
    if isinstance(raw, str):
        return Value(" ".join(raw.split()), raw, typed=False)
    whole = isinstance(raw, float | Decimal) and math.isfinite(raw) and raw == int(raw)
    written = str(raw)
    if isinstance(raw, Decimal) and not whole:
        name = plain(format(raw, "f"))
    elif isinstance(raw, datetime):
        name = plain(written)
    else:
        name = str(int(raw)) if whole else " ".join(written.split())
    return Value(name, written, typed=True)


def plain(text: str) -> str:
    """Returns a canonical form of the ways in which programs write numbers, truth values and dates: equal for 1 and
    1.0, for true, True and TRUE, and for a date and its midnight."""
    if NUMBER.fullmatch(text):
        shortest = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if shortest == "-0" else shortest
    if found := MIDNIGHT.fullmatch(text):
        return found[1]
    return text.lower() if text.lower() in ("true", "false") else text


def number(name: str) -> float | None:
    """Returns the number that a label is, else None; stricter than `float`, which accepts 1_0 and non-ASCII digits."""
    try:
        return float(name) if name.isascii() and "_" not in name else None
    except ValueError:
        return None


def folded(text: str) -> str:
    """Returns a form that is equal for texts that differ only in case, whitespace, Unicode normalisation, invisible
    characters or number format."""
    seen = "".join(char for char in unicodedata.normalize("NFKC", text) if not _is_invisible(char))
    return plain(unicodedata.normalize("NFKC", seen.casefold()))


def _is_invisible(char: str) -> bool:
    variation = "\ufe00" <= char <= "\ufe0f" or "\u180b" <= char <= "\u180f"
    return variation or char.isspace() or char in FILLERS or unicodedata.category(char) in ("Cc", "Cf")


def warn_of_variants(values: Iterable[Value], source: str) -> None:
    """Warns of labels that look alike, which are probably meant to be the same.

    Args:
        values: of all rows.
        source: of the rows.
    """
    alike: dict[str, Counter[Value]] = defaultdict(Counter)
    for each, count in Counter(v for v in values if not v.typed).items():
        alike[folded(each.name)][each] += count
    groups = [counts for counts in alike.values() if len(counts) > 1]
    several = [_shown(counts) for counts in groups if len({each.name for each in counts}) > 1]
    one = [_shown(counts) for counts in groups if len({each.name for each in counts}) == 1]
    if several:
        log.warning(
            "%s has labels that differ only in case, whitespace, Unicode normalisation, invisible characters or number "
            "format; each is a separate label: %s. Write labels that are meant to be the same in the same way.",
            source,
            _some(several),
        )
    if one:
        log.warning("%s has labels that differ only in whitespace; they are one label: %s.", source, _some(one))


def _some(groups: list[str]) -> str:
    return "; ".join(groups[:SHOWN]) + ("; …" if len(groups) > SHOWN else "")


def _shown(counts: Counter[Value]) -> str:
    texts = {each: repr(each.written) for each in counts}
    # Composed and decomposed accents look the same; escapes do not.
    if len({unicodedata.normalize("NFKC", text) for text in texts.values()}) < len(texts):
        texts = {each: ascii(each.written) for each in counts}
    return listed(f"{texts[each]} ({count:,})" for each, count in sorted(counts.items()))
