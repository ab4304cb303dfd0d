"""Mistakes in a multirun that are told before its first job: one that all jobs share, and values with which none could
start."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig

from src.errors import UserError
from src.runs.find import runs_in
from src.sweeps.checking import Checker
from src.sweeps.combinations import written

Job = tuple[str, ...]  # its overrides, one per key


def refuse_mistakes(config: DictConfig, given: Sequence[Override], loader: Any) -> None:
    """Checks each value of each key once, with values of the other keys that go together: the sum of their numbers, not
    the product. A value that fails there is checked with others, and refused only if it fails with all of them.

    Of an interval that is searched, no value is sure to be tried, so that only one of its ends must be right. Once a
    job has finished, nothing is checked, since its data may have gone.

    Args:
        config: of the multirun, before it is split into jobs.
        given: the overrides of the command and of the sweep, one per key.
        loader: Hydra's.

    Raises:
        UserError: no job could start, with any value or with one of them; says why.
    """
    if "finished" in {run.state() for run in runs_in(Path(config.hydra.sweep.dir))}:
        return
    checker, axes = Checker(config, loader), [written(one) for one in given]
    right = _first_right(checker, axes)
    problems: dict[str, list[str]] = {}
    for place, override in enumerate(given):
        if not isinstance(override.value(), IntervalSweep):
            for value in axes[place]:
                if value != right[place] and (problem := _problem(checker, axes, right, place, value)):
                    problems.setdefault(problem, []).append(value)
    if problems:
        raise UserError("\n".join(f"{problem}\n{_left_out(values)}" for problem, values in problems.items()))


def _left_out(values: Sequence[str]) -> str:
    them = "it" if len(values) == 1 else "them"
    return f"No job with {' or '.join(values)} could start. Without {them}, others could."


def _first_right(checker: Checker, axes: Sequence[Sequence[str]]) -> Job:
    """Returns a job that could start.

    Raises:
        UserError: none could, or two could not for the same reason.
    """
    found: dict[str, None] = {}
    for job in _each(axes):
        problem = checker.problem(job)
        if problem is None:
            return job
        if problem in found:
            break
        found[problem] = None
    raise UserError(next(iter(found)))


def _each(axes: Sequence[Sequence[str]]) -> Iterator[Job]:
    """Yields each job once, one at a time, since there may be millions: the first and the last, which share no value
    that is swept, and then the others."""
    ends = dict.fromkeys((tuple(values[place] for values in axes)) for place in (0, -1))
    yield from ends
    yield from (job for job in itertools.product(*axes) if job not in ends)


def _problem(checker: Checker, axes: Sequence[Sequence[str]], right: Job, place: int, value: str) -> str | None:
    """Returns why no job with a value could start; None if one could.

    Args:
        checker: of the jobs.
        axes: the values of each key.
        right: a job that could start.
        place: of the key.
        value: of the key.
    """
    with_value, job = [*axes[:place], [value], *axes[place + 1 :]], _changed(right, place, value)
    first = checker.problem(job)
    if first is None:
        return None
    reasons = {first}
    for other in _neighbours(job, with_value):
        problem = checker.problem(other)
        if problem is None:
            return None
        reasons.add(problem)
    # Where the reason is the same whichever other value changes, it is this value.
    if len(reasons) > 1 and any(checker.problem(one) is None for one in itertools.product(*with_value)):
        return None
    return first


def _neighbours(job: Job, axes: Sequence[Sequence[str]]) -> Iterator[Job]:
    """Yields the jobs that differ from one in the value of a single key."""
    for place, values in enumerate(axes):
        yield from (_changed(job, place, value) for value in values if value != job[place])


def _changed(job: Job, place: int, value: str) -> Job:
    return (*job[:place], value, *job[place + 1 :])
