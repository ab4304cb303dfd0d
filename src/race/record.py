"""The file with the course of a race, beside its runs."""

from __future__ import annotations

from pathlib import Path

import pydantic

from src.errors import UserError, reason
from src.files.atomic import write_atomic
from src.race.replay import Race

NAME = "race.json"


RACE = pydantic.TypeAdapter(Race)


def write_race(race: Race, folder: Path) -> Path:
    """Writes the course of a race into the folder of its runs; returns the file."""
    file = folder / NAME
    write_atomic(file, RACE.dump_json(race, indent=2).decode() + "\n")
    return file


def read_race(folder: Path) -> Race | None:
    """Returns the course of the race whose runs are in a folder; None if they are of no race.

    Raises:
        UserError: the file cannot be read.
    """
    file = folder / NAME
    try:
        return RACE.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} must be the course of a race; it cannot be read: {reason(error)}.\n"
            "Delete it, and give the command of the race again: runs that have finished are kept."
        ) from None
