"""How text files may be written: quotes, delimiters and encodings."""

from __future__ import annotations

import codecs
import shlex
from typing import Annotated, Any, Literal

from pydantic import PlainValidator

Quoting = Literal["auto", "none", "standard"]


TAB = "\t"


TABS = ("tab", r"\t")  # a tab, as it can be written on a command line


def delimiter(value: Any) -> str:
    """Returns the character between columns.

    Raises:
        ValueError: it is no single character that can separate columns.
    """
    text = TAB if value in TABS else str(value)
    if len(text) != 1 or text in '"\r\n\0' or text.isalnum():
        raise ValueError(f'must be one character, neither letter, digit nor quote, such as ";" or tab; got {value!r}')
    return text


def encoding(value: Any) -> str:
    """Returns the name of an encoding, as Python knows it.

    Raises:
        ValueError: Python knows no such encoding of texts.
    """
    try:
        "a".encode(str(value))
    except (LookupError, UnicodeError, ValueError):
        raise ValueError(f"must be an encoding such as utf-8, windows-1252 or gb18030; got {value!r}") from None
    return codecs.lookup(str(value)).name


def delimiter_override(mark: str, section: str) -> str:
    """Returns an override that sets the delimiter, as a shell takes it.

    Args:
        mark: the delimiter.
        section: prefix of the key in the config, such as `data.`.
    """
    return f"{section}delimiter={TABS[0] if mark == TAB else shlex.quote(mark)}"


Delimiter = Annotated[str, PlainValidator(delimiter)]


Encoding = Annotated[str, PlainValidator(encoding)]
