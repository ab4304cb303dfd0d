"""Runs a race: trials of learning rates, then one block of jobs after the other, for the arms that are left, with any
launcher."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import UserError
from src.race.tuning import best, scores
from src.runs.find import runs_in
from src.runs.folder import RunFolder
from src.runs.identity import config_hash

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from src.race.recorded import Ran
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


@dataclass(frozen=True)
class Arm:
    """What is compared, at the best of its settings of learning rates.

    Args:
        name: what it is called as long as it has no run.
        trials: the job that tries each setting; of a single one none is needed.
        jobs: returns the jobs with a setting, one per block.
    """

    name: str
    trials: Mapping[str, Job]
    jobs: Callable[[str], Sequence[Job]]


def run_race(
    arms: Sequence[Arm],
    rules: Rules,
    root: Path,
    launch: Launch,
    repeats: Sequence[str] = (),
    relative: bool = False,
) -> Race:
    """Runs a race to its end, and leaves its course in race.json. Jobs that have finished before are not repeated.

    Args:
        arms: at least two.
        rules: of the race.
        root: the folder of the sweep.
        launch: runs jobs, and numbers them from a number on.
        repeats: of a cross-validation: the seed and repeat that each block is a fold of. Blocks of one follow each
            other, and when the race ends within one, the chosen arm runs its other folds too: only all of them
            together have a test score.
        relative: the margin is in standard deviations of the targets.

    Raises:
        UserError: what the runs have left, or an earlier race in this folder, cannot be read, or none of the first runs
            has the score that decides.
    """
    from src.race.record import read_race, write_race
    from src.race.replay import replay
    from src.race.words import course
    from src.sweeps.recorded import recorded

    _warn_of_other_plan(read_race(root), rules)
    trials = _tune(arms, rules, root, launch)
    jobs = [_jobs(arm, own) for arm, own in zip(arms, trials, strict=True)]
    identities = {arm.name: [job.identity for job in own] for arm, own in zip(arms, jobs, strict=True)}
    racing = [number for number, own in enumerate(jobs) if own]
    for block in range(1, rules.blocks + 1):
        _launch([jobs[arm][block - 1] for arm in racing], root, launch)
        found = recorded(identities, rules.metric, rules.cost, root)
        missing = [arm for arm in racing if block - 1 not in found.arms[found.names[arm]]]
        _warn_of_lost([jobs[arm][block - 1] for arm in missing], rules.metric, root)
        found = replace(found, trials={name: own for name, own in zip(found.names, trials, strict=True) if own})
        race = replay(found, replace(rules, margin=rules.margin * found.spread) if relative else rules, block)
        write_race(race, root)
        print(f"\n{course(race)}\n", flush=True)
        if race.end:
            _complete(race, dict(zip(found.names, jobs, strict=True)), repeats, root, launch)
            break
        racing = [arm for arm, name in enumerate(found.names) if name in race.racing and jobs[arm]]
    return race


def _warn_of_other_plan(before: Race | None, rules: Rules) -> None:
    """Warns where the race has begun with another number of blocks."""
    if before and before.rules.blocks != rules.blocks:
        log.warning(
            "This race was planned with %d blocks, and its scores have been seen; now it has %d. What it says holds "
            "with 95%% only for a plan made before.\nFor a new race choose a new folder: hydra.sweep.dir=FOLDER",
            before.rules.blocks,
            rules.blocks,
        )


def _complete(
    race: Race, jobs: Mapping[str, Sequence[Job]], repeats: Sequence[str], root: Path, launch: Launch
) -> None:
    """Runs the folds of the last repeat of a race that the chosen arm lacks."""
    last = len(race.looks)
    missing = [place for place in range(last, len(repeats)) if repeats[place] == repeats[last - 1]]
    if race.chosen and missing:
        _launch([jobs[race.chosen][place] for place in missing], root, launch)


def _tune(arms: Sequence[Arm], rules: Rules, root: Path, launch: Launch) -> list[dict[str, Ran | None]]:
    """Runs the trials that are missing, and returns those of each arm; none for arms with a single setting."""
    from src.sweeps.recorded import tried

    tuned = [arm.trials if len(arm.trials) > 1 else {} for arm in arms]
    if not any(tuned):
        return [{} for _ in arms]
    states = {identity: folder.state() for identity, folder in _folders(root).items()}
    _launch([job for trials in tuned for job in _wanted(trials, states)], root, launch)
    identities = [{name: job.identity for name, job in trials.items()} for trials in tuned]
    found = tried(identities, rules.metric, rules.cost, root)
    pairs = zip(tuned, found, strict=True)
    _warn_of_lost([job for trials, ran in pairs for name, job in trials.items() if not ran[name]], rules.metric, root)
    return found


def _wanted(trials: Mapping[str, Job], states: Mapping[str, str | None]) -> list[Job]:
    """Returns the trials that are to have a result. Failed ones run again only if no other of their arm has finished:
    what has been chosen must stay chosen when a race goes on."""
    chosen = "finished" in {states.get(job.identity) for job in trials.values()}
    return [job for job in trials.values() if not chosen or states.get(job.identity) != "failed"]


def _warn_of_lost(jobs: Sequence[Job], metric: str, root: Path) -> None:
    """Warns of jobs that have finished, but without the score; of the others their own errors were shown."""
    folders = _folders(root) if jobs else {}
    for folder in (folders[job.identity] for job in jobs if job.identity in folders):
        if folder.state() == "finished":
            log.warning("The race goes on without %s, which has finished without a validation %s.", folder.path, metric)


def _jobs(arm: Arm, trials: Mapping[str, Ran | None]) -> Sequence[Job]:
    """Returns the jobs of an arm with its best setting; none if all of its trials have failed."""
    setting = best(scores(trials)) if trials else next(iter(arm.trials))
    return [] if setting is None else arm.jobs(setting)


def _launch(jobs: Sequence[Job], root: Path, launch: Launch) -> None:
    """Launches the jobs that have not finished; new ones get numbers that no folder has. Progress counts the others."""
    folders = _folders(root)
    done = {identity for identity, folder in folders.items() if folder.state() == "finished"}
    for identity in done & {job.identity for job in jobs}:
        folders[identity].status.touch()
    if missing := [job.overrides for job in jobs if job.identity not in done]:
        numbers = [int(folder.name) for folder in folders.values() if folder.name.isdecimal()]
        launch(missing, max(numbers, default=-1) + 1)


def _folders(root: Path) -> dict[str, RunFolder]:
    """Returns the folders of the runs by the hash of their config."""
    found = {}
    for folder in runs_in(root):
        with contextlib.suppress(UserError):  # of a run whose config cannot be read
            found[config_hash(folder.saved_config("reading"))] = folder
    return found
