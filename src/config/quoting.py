"""Values on a command line, so that Hydra and the shell read them as they are."""

from __future__ import annotations

import re
import shlex

PLAIN = re.compile(r"[\w./-]*/[\w./-]*")  # a path that means nothing else to either


REFERENCE = "${"  # begins one, to Hydra


def quoted(value: str) -> str:
    """A value that Hydra reads back as it is: between quotes, backslashes before quotes doubled, no interpolation."""
    escaped = re.sub(r"(\\*)(\$\{)", r"\1\1\\\2", value)
    escaped = re.sub(r'(\\*)"', r"\1\1\"", escaped)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def read_whole(value: str) -> str:
    """A value that a user gives for a path, which Hydra then reads as it is, unless it is between quotes already or
    refers to something."""
    return value if value.startswith(('"', "'")) or REFERENCE in value else quoted(value)


def shell_argument(key: str, value: object) -> str:
    """`key=value` as it can be typed in a shell for a command that is composed by Hydra."""
    text = str(value)
    return f"{key}={text}" if PLAIN.fullmatch(text) else shlex.quote(f"{key}={quoted(text)}")
