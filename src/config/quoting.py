"""Quotes values on a command line, so that Hydra and the shell read them literally."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PLAIN = re.compile(r"[\w./-]*/[\w./-]*")  # a path without characters that are special to either


REFERENCE = "${"  # begins an interpolation


def quoted(value: str) -> str:
    """Returns the value so that Hydra reads it literally: in quotes, with quotes and interpolations escaped."""
    escaped = re.sub(r"(\\*)(\$\{)", r"\1\1\\\2", value)
    escaped = re.sub(r'(\\*)"', r"\1\1\"", escaped)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def quoted_path(value: str) -> str:
    """Returns a path so that Hydra reads it literally, unless it is in quotes already or contains an interpolation;
    ~/ is replaced by the home directory."""
    if value.startswith(('"', "'")) or REFERENCE in value:
        return value
    return quoted(str(Path(value).expanduser()) if value.startswith("~/") else value)


def shell_argument(key: str, value: object) -> str:
    """Returns `key=value` as an argument that can be pasted into a shell, for a Hydra command."""
    text = str(value)
    return f"{key}={text}" if PLAIN.fullmatch(text) else shlex.quote(f"{key}={quoted(text)}")
