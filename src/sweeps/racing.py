"""Runs a race: one block of jobs after the other, for the arms that are left, with any launcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.runs.find import runs_in
from src.runs.identity import config_hash

if TYPE_CHECKING:
    from src.comparison.decision import Cost
    from src.race.replay import Race
    from src.race.rules import Rules

Overrides = Sequence[str]


Launch = Callable[[Sequence[Overrides], int], object]


@dataclass(frozen=True)
class Job:
    """A run that a race may need.

    Args:
        overrides: of its config.
        identity: the hash of its config, by which its folder is found.
    """

    overrides: Overrides
    identity: str


def run_race(arms: Sequence[Sequence[Job]], rules: Rules, cost: Cost, root: Path, launch: Launch) -> Race:
    """Runs a race to its end, and leaves its course in race.json. Jobs that have finished before are not repeated.

    Args:
        arms: the jobs of each arm, one per block.
        rules: of the race.
        cost: what makes an arm cheaper.
        root: the folder of the sweep.
        launch: runs jobs, and numbers them from a number on.

    Raises:
        UserError: what the runs have left cannot be read.
    """
    from src.race.record import write_race
    from src.race.replay import replay
    from src.race.words import course
    from src.sweeps.recorded import recorded

    racing = list(range(len(arms)))
    for block in range(1, rules.blocks + 1):
        _launch([arms[arm][block - 1] for arm in racing], root, launch)
        found = recorded([[job.identity for job in jobs] for jobs in arms], rules.metric, cost, root)
        race = replay(found, rules, block)
        write_race(race, root)
        print(f"\n{course(race)}\n", flush=True)
        if race.end:
            break
        racing = [found.names.index(arm) for arm in race.racing]
    return race


def _launch(jobs: Sequence[Job], root: Path, launch: Launch) -> None:
    """Launches the jobs that have not finished; new ones get numbers that no folder has."""
    folders = {config_hash(folder.saved_config()): folder for folder in runs_in(root)}
    done = {identity for identity, folder in folders.items() if folder.state() == "finished"}
    if missing := [job.overrides for job in jobs if job.identity not in done]:
        numbers = [int(folder.name) for folder in folders.values() if folder.name.isdecimal()]
        launch(missing, max(numbers, default=-1) + 1)
