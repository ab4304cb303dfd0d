"""Shows what each phase of a run would train and cost, and what a multirun would. The entry point of `python -m
src.plan`; trains nothing."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from src.backbones.source import Source, read_source
from src.cli import exit_codes, run_command
from src.config.length import Length, length
from src.config.sections import Section
from src.config.validation import check_options, check_references
from src.config.wording import counted
from src.datamodules.text_problems import said_of_truncation, said_of_windows
from src.errors import UserError
from src.freezing.reached_phases import reached, unreached_warning
from src.models import checks, masked_language
from src.planning.tables import phase_costs, stages, sweep_costs
from src.planning.totals import Total, encoded, in_words, total
from src.runs import pretrain_config
from src.runs.folder import RunFolder
from src.runs.moved_names import with_current_names
from src.sweeps.combinations import Combination, as_params, combinations, key_of, race_of, suited
from src.training.build import build
from src.training.devices import device_type
from src.training.inputs import read_inputs
from src.training.trainer import check_length

if TYPE_CHECKING:
    from src.caching.costs import Cost
    from src.config.schema import RunConfig
    from src.datamodules.datamodule import TextDataModule
    from src.modules.freezable import FreezableModule

log = logging.getLogger(__name__)


class Options(Section):
    """What conf/plan.yaml adds to a run's config."""

    trial: bool | None


class Planned(NamedTuple):
    """A run as text, and what it costs."""

    text: str
    total: Total


def plan(cfg: DictConfig, trial: bool = False) -> Planned:
    """Returns the phases of a run, with what they train and cost; for pretrain-then-classify runs, of both.

    Args:
        cfg: composed from conf/plan.yaml.
        trial: time a few steps, unless the config says.

    Raises:
        UserError: the config or the data is invalid.
    """
    check_references(cfg)
    if not isinstance(cfg.get("plan"), DictConfig):
        raise UserError("plan must be a section of the config with the key trial.\nGive plan.trial=true or false.")
    wanted = check_options(cfg.plan, Options).trial
    trial = trial if wanted is None else wanted
    with open_dict(cfg):
        del cfg.plan
    cfg = with_current_names(cfg)
    found = _plan_both(cfg, trial) if cfg.pretrain else _plan_training(cfg, trial)
    return found._replace(text=f"{found.text}\nIn all: {in_words(found.total.all)}\n")


def _plan_both(cfg: DictConfig, trial: bool) -> Planned:
    """Plans pretraining and classification; the latter with the untrained backbone, which costs the same."""
    first, second = pretrain_config.stage_configs(cfg, RunFolder(Path(cfg.run)))
    checks.check_both(first, second)
    with tempfile.TemporaryDirectory() as folder:
        before = _plan_training(first, trial, save_to=Path(folder))
        after = _plan_training(second, trial, read_source(Path(folder), first.run))
    text = f"Pretraining of the backbone\n\n{before.text}\nClassification with the pretrained backbone\n\n{after.text}"
    return Planned(text, before.total + after.total)


def _plan_training(cfg: DictConfig, trial: bool, source: Source | None = None, save_to: Path | None = None) -> Planned:
    """Plans one training.

    Args:
        cfg: of the training.
        trial: whether to time a few steps.
        source: a backbone that replaces the one of the config.
        save_to: a folder to save the untrained backbone in.
    """
    from src.callbacks.stage_tables import as_text
    from src.models.adapters import merge_adapters

    inputs = read_inputs(cfg, source)
    settings, strategy = inputs.settings, inputs.strategy
    module, datamodule = build(cfg, settings, strategy, inputs.source, inputs.corpus)
    datamodule.setup()
    module.to(device_type(settings))
    check_length(settings, datamodule)
    whole = length(settings.trainer, len(datamodule.train_dataloader()))
    trained, costs, stores = _measured(module, datamodule, settings, trial)
    begun = reached(module.phases, whole.epochs, settings.trainer.check_val_every_n_epoch)
    lines = _length_in_words(strategy.name, whole, begun, len(module.phases))
    if said := said_of_windows(datamodule.tokens, settings.data):
        lines.append(said)
    if said := said_of_truncation(datamodule.tokens, settings.data, inputs.source.longest):
        lines.append(said)
    lines += [
        f"\n{as_text(stages(module, trained))}\n",
        "Costs in TFLOP, MB and seconds: forward and backward per epoch; encoding once, to fill the activation store",
        f"{as_text(phase_costs(module.phases, begun, trained, costs))}\n",
        f"Disk for checkpoints: {_disk(module) / 1e6:,.1f} MB while it trains\n",
    ]
    if save_to:  # last, since merged adapters are no longer in the stages
        merge_adapters(module.encoder)
        masked_language.save_model(save_to, module.encoder, module.head, datamodule.tokenizer)
    tokens = {split: int(found.lengths.sum()) for split, found in datamodule.tokens.items()}
    taken = tokens["train"] * whole.batches / len(datamodule.train_dataloader())  # of an epoch
    share = tokens["validation"] / taken, tokens["test"] / taken
    cost = total(module.phases[:begun], costs[:begun], stores[:begun], whole.epochs, share)
    return Planned("\n".join(lines), cost)


def _measured(
    module: FreezableModule, datamodule: TextDataModule, settings: RunConfig, trial: bool
) -> tuple[list[list[int]], list[Cost], list[str | None]]:
    """Returns for each phase how many parameters of each stage train, what it costs, and the name of its store."""
    from src.caching.costs import measure, plan_store
    from src.callbacks.stage_tables import stage_counts

    trained, costs, stores = [], [], []
    for index in range(len(module.phases)):
        module.enter_phase(index)
        recipe, store = plan_store(module, datamodule, settings)
        stores.append(store.folder.name if store else None)
        module.read_store(recipe.suffix if recipe else None)
        trained.append([stage_counts(module, stage)[1] for stage in module.stages])
        costs.append(measure(module, datamodule, settings, recipe, trial))
    return trained, costs, stores


def _length_in_words(strategy: str, whole: Length, begun: int, phases: int) -> list[str]:
    """
    Args:
        strategy: its name.
        whole: how long the training is at most.
        begun: how many of its phases it reaches.
        phases: how many there are.
    """
    duration = f"at most {counted(whole.epochs, 'epoch')} of {counted(whole.epoch_steps, 'step')}"
    cut = f", {counted(whole.steps, 'step')} in all" if whole.steps < whole.epochs * whole.epoch_steps else ""
    left = unreached_warning(begun, phases, "max_steps" if cut else "max_epochs")
    return [f"{strategy}: {counted(phases, 'phase')}, {duration}{cut}", *([left] if left else [])]


def _disk(module: FreezableModule) -> int:
    """Returns the bytes of two checkpoints, the best and the last, with the state of the optimizer."""
    from src.callbacks.saving import with_moments

    return 2 * with_moments(module)


def plan_sweep(chosen: Sequence[Combination], given: Sequence[str]) -> str:
    """Returns what the runs of a multirun cost, from a few measured steps of each combination.

    Args:
        chosen: the combinations of swept values.
        given: the overrides on the command line.

    Raises:
        UserError: the config or the data of a combination is invalid.
    """
    from src.callbacks.stage_tables import as_text

    rows = []
    with _each_warning_once():
        for number, one in enumerate(chosen, 1):
            log.info("Measuring %s (%d of %d)", one.name, number, len(chosen))
            cfg, trials = _suited([*given, *one.overrides])
            rows.append((one.name, one.runs + trials, plan(cfg, trial=True).total))
    shares = [cost.training.times(runs) for _, runs, cost in rows]
    every = sum(shares, encoded(cost for *_, cost in rows))
    runs = sum(count for _, count, _ in rows)
    end = "A race leaves out runs that cannot change its answer." if "race" in cfg else ""
    return (
        f"{as_text(sweep_costs(rows))}\n\nIn all: {counted(runs, 'run')}, {in_words(every)} if they run one after the "
        f"other, without the seconds that each needs to start. {end}"
    ).rstrip()


class _Once(logging.Filter):
    """Lets each message through once."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        before = len(self.said)
        self.said.add(record.getMessage())
        return len(self.said) > before


@contextlib.contextmanager
def _each_warning_once() -> Iterator[None]:
    """Leaves out what has been said before: combinations that share their data share its warnings."""
    last = [logging.lastResort] if logging.lastResort else []
    handlers = {handler: _Once() for handler in logging.root.handlers or last}
    for handler, once in handlers.items():
        handler.addFilter(once)
    try:
        yield
    finally:
        for handler, once in handlers.items():
            handler.removeFilter(once)


def _suited(overrides: list[str]) -> tuple[DictConfig, int]:
    """Returns the config of a combination, in a race with what suits its strategy, and its trials of learning rates."""
    whole = compose("plan", overrides, return_hydra_config=True)
    race = race_of(whole)
    if race is None:
        return compose("plan", overrides), 0
    keys = {key_of(override) for override in overrides}
    training, rates = suited(race, whole.hydra.runtime.choices.freeze, keys)
    trials = math.prod(map(len, rates))
    return compose("plan", [*overrides, *training]), trials if trials > 1 else 0


@hydra.main(version_base="1.3", config_path="../conf", config_name="plan")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        chosen: Any = HydraConfig.get()
        found = combinations(chosen)
        print(plan_sweep(found, [*chosen.overrides.task]) if found else plan(OmegaConf.create(cfg)).text)


if __name__ == "__main__":
    sys.argv = as_params(sys.argv)
    run_command(main, "plan")
