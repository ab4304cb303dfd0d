"""A sweeper that launches one block of jobs after the other, for the combinations that can still win.

Hydra finds sweepers only in a package of this name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from src.config.race import Race
from src.config.sections import Section
from src.config.validation import check_options
from src.errors import UserError
from src.runs.identity import config_hash
from src.sweeps.racing import Job, run_race

BLOCKS = ("seed", "data.repeat", "data.fold")  # the keys whose combinations are blocks; those of all others are arms


class Options(Section):
    """What the sweeper reads of the config."""

    race: Race


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
            UserError: there are too few arms or blocks, or what the runs have left cannot be read.
        """
        from src.race.rules import Rules

        assert self.config is not None
        if "race" not in self.config:
            raise UserError("hydra/sweeper=race needs the keys of a race.\nChoose it with sweep=race.")
        race = check_options(OmegaConf.masked_copy(self.config, "race"), Options).race
        parser = OverridesParser.create(config_loader=self._loader)
        given = {one.get_key_element(): one for one in parser.parse_overrides([*self._parse_config(), *arguments])}
        blocks = self.split_arguments([one for key, one in given.items() if key in BLOCKS], None)[0]
        combinations = self.split_arguments([one for key, one in given.items() if key not in BLOCKS], None)[0]
        jobs = [[self._job([*arm, *block]) for block in blocks] for arm in combinations]
        arms = list({arm[0].identity: arm for arm in jobs}.values())  # combinations with one config are one arm
        _check(arms, blocks)
        root = Path(self.config.hydra.sweep.dir)
        root.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, root / "multirun.yaml")
        rules = Rules(race.margin, race.goal, len(blocks), race.seconds, race.metric)
        run_race(arms, rules, race.cost, root, self._launch)

    @property
    def _loader(self) -> Any:
        assert self.hydra_context is not None
        return self.hydra_context.config_loader

    def _job(self, overrides: list[str]) -> Job:
        config: DictConfig = self._loader.load_sweep_config(self.config, overrides)
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return Job(overrides, config_hash(task))

    def _launch(self, jobs: Sequence[Sequence[str]], number: int) -> None:
        assert self.launcher is not None
        for returned in self.launcher.launch([list(job) for job in jobs], initial_job_idx=number):
            _ = returned.return_value  # raises what has ended the job


def _check(arms: Sequence[Sequence[Job]], blocks: Sequence[Sequence[str]]) -> None:
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
