"""Paths as the user gives them."""

from __future__ import annotations

from pathlib import Path

from src.errors import UserError


def user_path(name: str | Path) -> Path:
    """The path of that name; ~ is the user's home.

    Raises:
        UserError: no path can be called that.
    """
    if "\0" in str(name):
        raise UserError(f"A path must be a name for a file or folder; {str(name)!r} holds a zero byte.")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"A path with ~ must begin with the name of a user; there is none for {name}.") from None
