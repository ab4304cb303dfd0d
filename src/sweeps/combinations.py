"""The runs of a multirun before it starts: the combinations of the swept values, and how many runs each has."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from src.config.quoting import quoted
from src.config.race import Race
from src.config.sections import Section
from src.config.validation import check_options
from src.config.values import flat
from src.errors import UserError

COORDINATES = ("seed", "data.repeat", "data.fold")  # of the runs of one combination


@dataclass(frozen=True)
class Combination:
    """
    Args:
        overrides: its values of the swept keys, apart from seeds, folds and repeats.
        runs: one per seed, fold and repeat.
    """

    overrides: list[str]
    runs: int

    @property
    def name(self) -> str:
        return " ".join(self.overrides) or "every run"


def key_of(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def combinations(hydra: Any) -> list[Combination]:
    """Returns the combinations of a multirun; none if nothing is swept.

    Args:
        hydra: Hydra's section of the config; keys on the command line replace those of the sweep.

    Raises:
        UserError: the values of a key are chosen as the search goes.
    """
    params: Any = OmegaConf.to_container(hydra.sweeper.get("params") or OmegaConf.create())
    fixed = {key_of(override) for override in hydra.overrides.task}
    parser = OverridesParser.create()
    swept = [parser.parse_override(f"{key}={value}") for key, value in flat(params) if key not in fixed]
    if "Optuna" in hydra.sweeper._target_ or any(isinstance(one.value(), IntervalSweep) for one in swept):
        raise UserError(
            "A search chooses values as it goes, so its runs are not known before.\n"
            "Plan one of them: leave out sweep=search, and give the values of one run."
        )
    values = {override.get_key_element(): written(override) for override in swept}
    runs = math.prod(len(found) for key, found in values.items() if key in COORDINATES)
    axes = [found for key, found in values.items() if key not in COORDINATES]
    return [Combination([*chosen], runs) for chosen in itertools.product(*axes)] if swept else []


def race_of(cfg: DictConfig) -> Race | None:
    """Returns the section of a race; None without one.

    Raises:
        UserError: it is invalid.
    """
    return check_options(OmegaConf.masked_copy(cfg, "race"), _Racing).race if "race" in cfg else None


class _Racing(Section):
    race: Race | None


def as_params(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments of a multirun as those of one run, with the swept values as parameters of the sweeper."""
    flags = {"-m", "--multirun"}
    if not flags & {*arguments}:
        return [*arguments]
    kept, swept = [], []
    for argument in (one for one in arguments if one not in flags):
        key, equals, value = argument.partition("=")
        if equals and _is_swept(argument):
            swept.append(f"{key}: {quoted(value)}")
        else:
            kept.append(argument)
    return [*kept, f"++hydra.sweeper.params={{{', '.join(swept)}}}"]


def _is_swept(argument: str) -> bool:
    try:
        return bool(OverridesParser.create().parse_override(argument).is_sweep_override())
    except HydraException:  # Hydra itself says why it cannot be read
        return False


def written(override: Override) -> list[str]:
    """The values of an override, one per job; of an interval that is searched, its ends."""
    value, key = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    if override.is_sweep_override():
        return [f"{key}={one}" for one in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def suited(race: Race, strategy: str, given: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Returns the overrides that suit a strategy in a race, and for each learning rate those to try.

    Args:
        race: the section of the config.
        strategy: its file in conf/freeze/.
        given: the keys that the command line gives, which are kept.
    """
    training = [f"{key}={value}" for key, value in race.training_of(strategy) if key not in given]
    rates = () if "optimizer" in given else race.rates_of(strategy)
    return training, [[f"{key}={rate}" for rate in found] for key, found in rates if key not in given]
