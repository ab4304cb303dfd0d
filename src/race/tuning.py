"""Which learning rates an arm races with: those of its best trial."""

from __future__ import annotations

from collections.abc import Mapping

from src.race.recorded import Ran


def scores(trials: Mapping[str, Ran | None]) -> dict[str, float | None]:
    """Returns the validation score of each trial; None if it has failed."""
    return {setting: run.score if run else None for setting, run in trials.items()}


def best(scores: Mapping[str, float | None]) -> str | None:
    """Returns the setting to race with: of the highest score, and of equal ones the first; None if all have failed.

    Args:
        scores: the validation score of each setting, in the order in which they are listed; None: its trial has failed.
    """
    known = {setting: score for setting, score in scores.items() if score is not None}
    return max(known, key=lambda setting: known[setting], default=None)
