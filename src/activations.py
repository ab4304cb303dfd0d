"""Lists and deletes activation stores. The entry point of `python -m src.activations`."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from src.cli import exit_codes
from src.config.wording import brief_duration, counted
from src.errors import UserError
from src.files.paths import user_path
from src.store.entries import entries


def main(arguments: Sequence[str] | None = None) -> None:
    """`list` shows the stores; `prune` deletes those that have not been used for some days, or all."""
    parser = argparse.ArgumentParser(prog="python -m src.activations", description=main.__doc__)
    parser.add_argument("command", choices=("list", "prune"))
    parser.add_argument("--cache", type=_folder, default=Path("outputs/cache"), help="the cache folder of the runs")
    parser.add_argument("--days", type=_days_kept, default=0, help="prune: keep stores used within this many days")
    chosen = parser.parse_args(arguments)
    now, freed = time.time(), 0
    found = entries(chosen.cache)
    for entry in found:
        old = chosen.command == "prune" and now - entry.used >= chosen.days * 86_400
        age = "unfinished" if entry.created is None else f"{brief_duration(now - entry.created)} old"
        note = "deleted" if old else f"used {brief_duration(now - entry.used)} ago"
        if old:
            _delete(entry.folder)
            freed += entry.bytes
        print(f"{entry.folder.name[:12]}  {entry.bytes / 1e6:10,.1f} MB  {age:>12}  {note:>14}  {entry.what}")
    total = sum(e.bytes for e in found)
    print(
        f"{counted(len(found), 'store')}, {total / 1e6:,.1f} MB" + (f", {freed / 1e6:,.1f} MB freed" if freed else "")
    )


def _delete(folder: Path) -> None:
    """
    Raises:
        UserError: it cannot be deleted.
    """
    try:
        with FileLock(folder / "lock"):  # wait for a builder
            shutil.rmtree(folder)
    except FileNotFoundError:  # another process has deleted it meanwhile
        return
    except OSError as error:
        raise UserError(
            f"{folder} must be a store that you may delete; it is not: {error.strerror}.\n"
            "Leave it to its owner, or prune a cache of your own: --cache FOLDER."
        ) from None


def _folder(name: str) -> Path:
    try:
        folder = user_path(name)
        if folder.is_dir():
            return folder
        problem = "it does not exist"
    except (UserError, OSError) as error:
        problem = str(error)
    raise argparse.ArgumentTypeError(f"must be a folder; {problem}: {name}")


def _days_kept(text: str) -> float:
    if not text.replace(".", "", 1).isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number of days, at least 0; got {text}")
    return float(text)


if __name__ == "__main__":
    with exit_codes():
        main()
