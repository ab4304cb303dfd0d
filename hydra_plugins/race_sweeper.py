"""A sweeper that launches one block of jobs after the other, for the combinations that can still win.

Hydra finds sweepers only in a package of this name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from src.config.monitor import IN_UNITS, MARGIN
from src.config.race import Race
from src.errors import UserError
from src.files.atomic import write_atomic
from src.runs.identity import config_hash
from src.sweeps.combinations import COORDINATES, key_of, race_of, suited
from src.sweeps.progress import count_more
from src.sweeps.racing import Arm, Job, run_race

FOLD = "data.fold"


TRIAL_SEED = 1_000_000  # no seed that a block is likely to have, or to get later


class RaceSweeper(BasicSweeper):
    """
    Args:
        params: values by key, as for Hydra's own sweeper; the command line comes on top.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> None:
        """Runs the race.

        Raises:
            UserError: there are too few arms or blocks, arms would be left out, or what the runs have left cannot be
                read.
        """
        from src.race.rules import Rules

        assert self.config is not None
        race = race_of(self.config)
        if race is None:
            raise UserError("hydra/sweeper=race needs the keys of a race.\nChoose it with sweep=race.")
        if (by := self.config.sweep.by) is not None:
            raise UserError(f"sweep.by must be null in a race, which compares all arms; got {by}.\nLeave it out.")
        parser = OverridesParser.create(config_loader=self._loader)
        given = {one.get_key_element(): one for one in parser.parse_overrides([*self._parse_config(), *arguments])}
        # The combinations of these keys are blocks, the last one changing first; those of all others are arms.
        blocks = self.split_arguments([given[key] for key in COORDINATES if key in given], None)[0]
        combinations = self.split_arguments([one for key, one in given.items() if key not in COORDINATES], None)[0]
        arms = [self._arm(one, combinations, blocks, race) for one in combinations]
        # Combinations with one config are one arm.
        arms = list({next(iter(arm.trials.values())).identity: arm for arm in arms}.values())
        _check(arms, blocks)
        count_more(sum(len(arm.trials) for arm in arms if len(arm.trials) > 1))
        root = Path(self.config.hydra.sweep.dir)
        root.mkdir(parents=True, exist_ok=True)
        write_atomic(root / "multirun.yaml", OmegaConf.to_yaml(self.config))
        metric = race.deciding(self.config.data.task)
        margin, relative = (MARGIN, metric in IN_UNITS) if race.margin is None else (race.margin, False)
        rules = Rules(margin, race.goal, len(blocks), race.seconds, metric, race.cost)
        run_race(arms, rules, root, self._launch, _repeats(blocks), relative)

    @property
    def _loader(self) -> Any:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader

    def _arm(self, own: list[str], combinations: Sequence[list[str]], blocks: Sequence[list[str]], race: Race) -> Arm:
        """Returns an arm, trained as suits its strategy, at each of its learning rates.

        Args:
            own: its overrides.
            combinations: those of all arms.
            blocks: of the race.
            race: the section of the config.
        """
        strategy = self._loader.load_sweep_config(self.config, own).hydra.runtime.choices.freeze
        training, rates = suited(race, strategy, {key_of(override) for override in own})
        settings = {" ".join(setting): [*own, *training, *setting] for setting in itertools.product(*rates)}
        shared = set.intersection(*(set(one) for one in combinations))
        return Arm(
            " ".join(override for override in own if override not in shared),
            {name: self._job([*setting, *_trial(blocks)]) for name, setting in settings.items()},
            lambda name: [self._job([*settings[name], *block]) for block in blocks],
        )

    def _job(self, overrides: list[str]) -> Job:
        config: DictConfig = self._loader.load_sweep_config(self.config, overrides)
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return Job(overrides, config_hash(task))

    def _launch(self, jobs: Sequence[Sequence[str]], number: int) -> None:
        assert self.launcher is not None
        for returned in self.launcher.launch([list(job) for job in jobs], initial_job_idx=number):
            _ = returned.return_value  # raises what has ended the job


def _repeats(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Returns what each fold of a cross-validation is a fold of; none without folds."""
    return [" ".join(block[:-1]) for block in blocks if block[-1].startswith(FOLD)]


def _trial(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Returns the overrides of trials: the first fold and repeat, with a seed that no block has."""
    used = {override for block in blocks for override in block}
    seed = next(found for found in itertools.count(TRIAL_SEED) if f"seed={found}" not in used)
    rest = [override for override in blocks[0] if not override.startswith("seed=")]
    return [*rest, f"seed={seed}", "race.trial=true"]


def _check(arms: Sequence[Arm], blocks: Sequence[Sequence[str]]) -> None:
    """
    Raises:
        UserError: there are too few arms or blocks.
    """
    from src.statistics.sequential import first_look

    if len(arms) < 2:
        raise UserError("A race needs at least two arms; there is one.\nFor example: sweep=race freeze=none,bottom,all")
    if len(blocks) < (least := first_look(len(arms))):
        raise UserError(
            f"A race of {len(arms)} arms needs at least {least} blocks, which are seeds, or folds and repeats of a "
            f"cross-validation; there {'is one' if len(blocks) == 1 else f'are {len(blocks)}'}.\n"
            "For example: 'seed=range(1,6)'"
        )
