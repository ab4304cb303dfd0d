"""Shows what each phase of a run would train and cost. The entry point of `python -m src.plan`; trains nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.table import Table

from src.backbones.source import Source, read_source
from src.cli import exit_codes, run_command
from src.config.length import length
from src.config.sections import Section
from src.config.validation import check_options, check_references
from src.datamodules.text_problems import said_of_truncation, said_of_windows
from src.errors import UserError
from src.freezing.reached_phases import reached, unreached_warning
from src.freezing.strategy import Phase, percent
from src.models import checks, masked_language
from src.runs import pretrain_config
from src.runs.folder import RunFolder
from src.runs.moved_names import with_current_names
from src.training.build import build
from src.training.inputs import read_inputs
from src.training.trainer import check_length

if TYPE_CHECKING:
    from src.caching.costs import Cost
    from src.modules.freezable import FreezableModule


class Options(Section):
    """What conf/plan.yaml adds to a run's config."""

    trial: bool


def plan(cfg: DictConfig) -> str:
    """Returns the phases of a run as text, with what they train and cost; for pretrain-then-classify runs, of both.

    Args:
        cfg: composed from conf/plan.yaml.

    Raises:
        UserError: the config or the data is invalid.
    """
    check_references(cfg)
    if not isinstance(cfg.get("plan"), DictConfig):
        raise UserError("plan must be a section of the config with the key trial.\nGive plan.trial=true or false.")
    trial = check_options(cfg.plan, Options).trial
    with open_dict(cfg):
        del cfg.plan
    cfg = with_current_names(cfg)
    return _plan_both(cfg, trial) if cfg.pretrain else _plan_training(cfg, trial)


def _plan_both(cfg: DictConfig, trial: bool) -> str:
    """Plans pretraining and classification; the latter with the untrained backbone, which costs the same."""
    first, second = pretrain_config.stage_configs(cfg, RunFolder(Path(cfg.run)))
    checks.check_both(first, second)
    with tempfile.TemporaryDirectory() as folder:
        before = _plan_training(first, trial, save_to=Path(folder))
        after = _plan_training(second, trial, read_source(Path(folder), first.run))
    return f"Pretraining of the backbone\n\n{before}\nClassification with the pretrained backbone\n\n{after}"


def _plan_training(cfg: DictConfig, trial: bool, source: Source | None = None, save_to: Path | None = None) -> str:
    """Plans one training.

    Args:
        cfg: of the training.
        trial: whether to time a few steps.
        source: a backbone that replaces the one of the config.
        save_to: a folder to save the untrained backbone in.
    """
    from src.caching.costs import measure, plan_store
    from src.callbacks.stage_tables import as_text, stage_counts
    from src.models.adapters import merge_adapters

    inputs = read_inputs(cfg, source)
    settings, strategy = inputs.settings, inputs.strategy
    module, datamodule = build(cfg, settings, strategy, inputs.source, inputs.corpus)
    datamodule.setup()
    check_length(settings, datamodule)
    whole = length(settings.trainer, len(datamodule.train_dataloader()))
    trained, costs = [], []
    for index in range(len(module.phases)):
        module.enter_phase(index)
        recipe = plan_store(module, datamodule, settings)
        module.read_store(recipe.suffix if recipe else None)
        trained.append([stage_counts(module, stage)[1] for stage in module.stages])
        costs.append(measure(module, datamodule, settings, recipe, trial))
    begun = reached(module.phases, whole.epochs, settings.trainer.check_val_every_n_epoch)
    phases, steps = len(module.phases), whole.epochs * whole.epoch_steps
    duration = f"at most {_counted(whole.epochs, 'epoch')} of {_counted(whole.epoch_steps, 'step')}"
    cut = f", {_counted(whole.steps, 'step')} in all" if whole.steps < steps else ""
    lines = [f"{strategy.name}: {_counted(phases, 'phase')}, {duration}{cut}"]
    if left := unreached_warning(begun, phases, "max_steps" if cut else "max_epochs"):
        lines.append(left)
    if said := said_of_windows(datamodule.tokens, settings.data):
        lines.append(said)
    if said := said_of_truncation(datamodule.tokens, settings.data, inputs.source.longest):
        lines.append(said)
    lines += [
        f"\n{as_text(_stages(module, trained))}\n",
        "Costs in TFLOP, MB and seconds: forward and backward per epoch; encoding once, to fill the activation store",
        f"{as_text(_costs(module.phases, begun, trained, costs))}\n",
        f"Disk for checkpoints: {_disk(module) / 1e6:,.1f} MB while it trains\n",
    ]
    if save_to:  # last, since merged adapters are no longer in the stages
        merge_adapters(module.encoder)
        masked_language.save_model(save_to, module.encoder, module.head, datamodule.tokenizer)
    return "\n".join(lines)


def _disk(module: FreezableModule) -> int:
    """Returns the bytes of two checkpoints, the best and the last, with the state of the optimizer."""
    from src.caching.costs import moments

    named = module.named_stage_parameters()
    trained = sum(named[name].numel() * named[name].element_size() for name in module.trained)
    return 2 * (1 + moments(module)) * trained


def _stages(module: FreezableModule, trained: Sequence[Sequence[int]]) -> Table:
    """Returns a table of stages by phases: how much of each stage trains."""
    from src.callbacks.audit import count

    sizes = [count(module, stage.parameters) for stage in module.stages]
    table = _table("trains in phase", "parameters", *(str(number + 1) for number in range(len(trained))))
    for stage, size, *counts in zip(module.stages, sizes, *trained, strict=True):
        table.add_row(stage.name, f"{size:,}", *(_fraction(found, size) for found in counts))
    table.add_row("total", f"{sum(sizes):,}", *(_fraction(sum(counts), sum(sizes)) for counts in trained))
    return table


def _fraction(found: int, size: int) -> str:
    return "all" if found == size else percent(found / size) if found else "-"


def _costs(phases: Sequence[Phase], begun: int, trained: Sequence[Sequence[int]], costs: Sequence[Cost]) -> Table:
    times = ("time", "encoding time") if costs[0].seconds is not None else ()
    table = _table("phase", "lasts", "trainable", "forward", "backward", "encoding", "memory", *times)
    for number, (phase, counts, cost) in enumerate(zip(phases, trained, costs, strict=True), 1):
        lasts = _duration(phase) if number < begun else "to the end" if number == begun else "not reached"
        work = [f"{flops / 1e12:.3g}" for flops in (cost.forward, cost.backward, cost.encoding)]
        seconds = [f"{time or 0:.1f}" for time in (cost.seconds, cost.encoding_seconds)][: len(times)]
        table.add_row(str(number), lasts, f"{sum(counts):,}", *work, f"{cost.memory / 1e6:,.0f}", *seconds)
    return table


def _duration(phase: Phase) -> str:
    epochs = phase.end.epochs
    if epochs is None:
        return f"until a plateau of {_counted(phase.end.patience, 'validation')}"
    return _counted(epochs, "epoch")


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _table(first: str, *others: str) -> Table:
    """Returns a table without lines, with numbers aligned to the right."""
    table = Table(first, box=None, pad_edge=False)
    for name in others:
        table.add_column(name, justify="right")
    return table


@hydra.main(version_base="1.3", config_path="../conf", config_name="plan")
def main(cfg: DictConfig) -> None:
    with exit_codes():
        print(plan(OmegaConf.create(cfg)))


if __name__ == "__main__":
    run_command(main, "plan")
