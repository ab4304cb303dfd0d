"""Paths given by the user."""

from __future__ import annotations

from pathlib import Path

from src.errors import UserError


def user_path(name: str | Path) -> Path:
    """Returns the path of that name; ~ is the user's home folder.

    Raises:
        UserError: it is not a valid path.
    """
    if "\0" in str(name):
        raise UserError(f"A path must name a file or folder; {str(name)!r} contains a zero byte.")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"A path with ~ must begin with the name of a user; there is none for {name}.") from None
