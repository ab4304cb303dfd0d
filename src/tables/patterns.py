"""Finds the files that a path with wildcards stands for, as a shell does."""

from __future__ import annotations

import glob
from pathlib import Path

from src.errors import UserError, listed
from src.tables.opening import STDIN
from src.tables.reading import kind_of, kinds


def matched(path: Path, key: str) -> list[Path]:
    """Returns the files that match a path with `*`, `?`, `[…]` or `**`, sorted by name. A path without wildcards, or
    one that is there as it is written, stands for itself.

    Args:
        path: as the user gives it.
        key: the config key that has it, for messages.

    Raises:
        UserError: no file matches, or files of several kinds do.
    """
    if path == STDIN or not glob.has_magic(str(path)) or _exists(path):
        return [path]
    # Path.glob takes no absolute pattern, and matches hidden files.
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    # `**` matches folders too, for the sake of what is in them.
    files = [one for one in found if not ("**" in path.parts and one.is_dir())]
    if not files:
        raise UserError(f"{key} must match a file; {path} matches none.\nCheck the spelling and the folder.")
    for one in files:
        if not one.is_file() or kind_of(one) is None:
            what = "one" if one.is_file() else "a file"
            raise UserError(
                f"{key} must match data files alone ({kinds()}); {path} matches {one}, which is not {what}.\n"
                f"Write a pattern that leaves it out, such as {path.parent / '*.csv'}."
            )
    if len(of_kind := {str(kind_of(one)): one for one in reversed(files)}) > 1:
        names = listed(f"{one} ({kind})" for kind, one in sorted(of_kind.items()))
        raise UserError(
            f"{key} must match files of one kind; {path} matches {names}.\n"
            f"Write a pattern for one kind, such as {path.parent / f'*{kind_of(files[0])}'}."
        )
    return files


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True
