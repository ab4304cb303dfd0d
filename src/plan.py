"""Composed config -> what each phase would train and cost. The entry point of `python -m src.plan`; trains nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.table import Table

from src.build import build, check_fit, check_monitor, find_backbone, read_config
from src.checking import check_options, check_references
from src.cli import in_order, run_command
from src.config import RunConfig, Section
from src.data import corpus as corpora
from src.errors import UserError
from src.freezing import Phase, percent

if TYPE_CHECKING:
    import torch

    from src.data.batching import Batch
    from src.data.datamodule import TextDataModule
    from src.encoding import Recipe
    from src.freezable import FreezableModule

SAMPLE, TEXTS = 5, 4  # so many texts of so many batches, from the shortest to the longest, stand for an epoch
TRIAL = 10  # steps


class Options(Section):
    """What conf/plan.yaml adds to a run's config."""

    trial: bool


@dataclass(frozen=True)
class Cost:
    """What one epoch of a phase takes, in floating-point operations, bytes and seconds."""

    forward: float
    backward: float
    encoding: float  # operations of the pass that fills the activation store, once; 0 without one
    memory: int  # bytes: weights, gradients, moments and what the backward pass keeps of the largest batch
    seconds: float | None  # of an epoch, from the trial
    encoding_seconds: float | None


def plan(cfg: DictConfig) -> str:
    """The phases of a run, with what they train and cost, as text.

    Args:
        cfg: composed from conf/plan.yaml.

    Raises:
        UserError: something in the config or the data cannot be used.
    """
    from src.phases import as_text, stage_counts

    check_references(cfg)
    if not isinstance(cfg.get("plan"), DictConfig):
        raise UserError("plan must be a section of the config with the key trial.\nGive plan.trial=true or false.")
    trial = check_options(cfg.plan, Options).trial
    with open_dict(cfg):
        del cfg.plan
    settings, strategy = read_config(cfg)
    source = find_backbone(settings.backbone)
    check_fit(settings, strategy, source)
    corpus = corpora.load(settings.data, settings.masks)
    check_monitor(settings, corpus)
    module, datamodule = build(cfg, settings, strategy, source, corpus)
    datamodule.setup()
    trained, costs = [], []
    for index in range(len(module.phases)):
        module.enter_phase(index)
        recipe = _recipe(module, datamodule, settings)
        module.read_store(recipe.suffix if recipe else None)
        trained.append([stage_counts(module, stage)[1] for stage in module.stages])
        costs.append(_cost(module, datamodule, settings, recipe, trial))
    phases = f"{len(module.phases)} phase{'s' * (len(module.phases) > 1)}"
    return (
        f"{strategy.name}: {phases}, at most {settings.trainer.max_epochs} epochs of "
        f"{len(datamodule.train_dataloader())} steps\n\n{as_text(_stages(module, trained))}\n\n"
        "An epoch of each phase (TFLOP, MB, seconds), and the one pass that fills its activation store\n"
        f"{as_text(_costs(module.phases, trained, costs))}\n"
    )


def _recipe(module: FreezableModule, datamodule: TextDataModule, settings: RunConfig) -> Recipe | None:
    """How the phase's activation store would be filled; None for a phase that runs live."""
    from src.caching import plan_stores
    from src.encoding import UnusableError

    try:
        return None if settings.activations.mode == "off" else plan_stores(module, datamodule, settings)[0]
    except UnusableError:
        return None


def _cost(
    module: FreezableModule, datamodule: TextDataModule, settings: RunConfig, recipe: Recipe | None, trial: bool
) -> Cost:
    import torch

    from src.operations import counter

    module.train()
    lengths = datamodule.tokens["train"].lengths
    plan = sorted(datamodule.train_dataloader().plan.batches(0), key=lambda rows: int(lengths[rows].max()))
    places = sum(len(rows) * int(lengths[rows].max()) for rows in plan)
    forward = backward = sampled = encoded = 0.0
    for rows in (plan[i] for i in _evenly(len(plan), SAMPLE)):
        live = datamodule.split("train")[0, rows[:TEXTS]]
        with counter() as counted:
            loss = _loss(module, _stand_in(live, recipe), settings)
            forward += (before := counted.get_total_flops())
            torch.autograd.backward(loss)
            backward += counted.get_total_flops() - before
        if recipe:
            with counter() as counted, torch.no_grad():
                recipe.states(live["input_ids"], live["mask"])
            encoded += counted.get_total_flops()
        sampled += live["mask"].numel()
        module.zero_grad()
    share = places / sampled
    largest = datamodule.split("train")[0, plan[-1]]
    seconds = encoding_seconds = None
    if trial:
        rows_tried = [plan[i] for i in _evenly(len(plan), TRIAL)]
        seconds, encoding_seconds = _timed(module, datamodule, settings, recipe, rows_tried, places)
    memory = _memory(module, _stand_in(largest, recipe), settings)
    return Cost(forward * share, backward * share, encoded * share, memory, seconds, encoding_seconds)


def _evenly(count: int, wanted: int) -> Iterator[int]:
    chosen = min(count, wanted)
    return (round((i + 0.5) * count / chosen - 0.5) for i in range(chosen))


def _stand_in(batch: Batch, recipe: Recipe | None) -> Batch:
    """The batch as the store would give it: of the same shape, with zeros for states."""
    import torch

    if recipe is None:
        return batch
    rest = {key: value for key, value in batch.items() if key != "input_ids"}
    texts, tokens = batch["mask"].shape
    if recipe.pooling:
        return {**rest, "pooled": torch.zeros(texts, recipe.width)}
    return {**rest, "states": torch.zeros(texts, tokens, recipe.width)}


def _loss(module: FreezableModule, batch: Batch, settings: RunConfig) -> torch.Tensor:
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=settings.trainer.precision == "bf16-mixed"):
        return module.step(batch)[0]


def _memory(module: FreezableModule, batch: Batch, settings: RunConfig) -> int:
    """Bytes of weights, gradients, moments, and of what the backward pass keeps of this batch."""
    import torch

    weights = {p.untyped_storage().data_ptr(): p for p in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss(module, batch, settings)
    trainable = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    own = sum(p.numel() * p.element_size() for p in module.parameters())
    assert module.optimization is not None
    # Adam keeps two moments of each gradient, SGD one.
    moments = 1 if isinstance(module.optimization.optimizer(module), torch.optim.SGD) else 2
    return own + (1 + moments) * trainable + sum(kept.values())


def _timed(
    module: FreezableModule,
    datamodule: TextDataModule,
    settings: RunConfig,
    recipe: Recipe | None,
    plan: list[Any],
    places: int,
) -> tuple[float, float]:
    """Seconds of an epoch and of the encoding pass, from a few batches of each length."""
    import torch

    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert module.optimization is not None
    optimizer = module.optimization.optimizer(module)
    training = encoding = tried = 0.0
    for number, rows in enumerate([plan[-1], *plan]):  # the first step is slower than all others, and not counted
        live = datamodule.split("train")[0, rows]
        batch = _stand_in(live, recipe)
        begin = time.perf_counter()
        torch.autograd.backward(_loss(module, batch, settings))
        optimizer.step()
        optimizer.zero_grad()
        middle = time.perf_counter()
        if recipe:
            with torch.inference_mode():
                recipe.states(live["input_ids"], live["mask"])
        if number:
            training += middle - begin
            encoding += time.perf_counter() - middle
            tried += live["mask"].numel()
    module.load_state_dict(state)
    return training * places / tried, encoding * places / tried


def _stages(module: FreezableModule, trained: Sequence[Sequence[int]]) -> Table:
    """Stages by phases: how much of each stage trains."""
    from src.audit import count

    sizes = [count(module, stage.parameters) for stage in module.stages]
    table = _right("trains in phase", "parameters", *(str(number + 1) for number in range(len(trained))))
    for stage, size, *counts in zip(module.stages, sizes, *trained, strict=True):
        table.add_row(stage.name, f"{size:,}", *(_share(found, size) for found in counts))
    table.add_row("total", f"{sum(sizes):,}", *(_share(sum(counts), sum(sizes)) for counts in trained))
    return table


def _share(found: int, size: int) -> str:
    return "all" if found == size else percent(found / size) if found else "-"


def _costs(phases: Sequence[Phase], trained: Sequence[Sequence[int]], costs: Sequence[Cost]) -> Table:
    times = ("time", "encoding time") if costs[0].seconds is not None else ()
    table = _right("phase", "lasts", "trainable", "forward", "backward", "encoding", "memory", *times)
    for number, (phase, counts, cost) in enumerate(zip(phases, trained, costs, strict=True), 1):
        lasts = "to the end" if number == len(phases) else _duration(phase)
        work = [f"{operations / 1e12:.3g}" for operations in (cost.forward, cost.backward, cost.encoding)]
        seconds = [f"{time or 0:.1f}" for time in (cost.seconds, cost.encoding_seconds)][: len(times)]
        table.add_row(str(number), lasts, f"{sum(counts):,}", *work, f"{cost.memory / 1e6:,.0f}", *seconds)
    return table


def _duration(phase: Phase) -> str:
    epochs = phase.end.epochs
    if epochs is None:
        return f"until a plateau of {phase.end.patience} epoch{'s' * (phase.end.patience > 1)}"
    return f"{epochs} epoch{'s' * (epochs > 1)}"


def _right(first: str, *others: str) -> Table:
    """A table without lines, and numbers to the right."""
    table = Table(first, box=None, pad_edge=False)
    for name in others:
        table.add_column(name, justify="right")
    return table


@hydra.main(version_base="1.3", config_path="../conf", config_name="plan")
def main(cfg: DictConfig) -> None:
    with in_order():
        print(plan(OmegaConf.create(cfg)))


if __name__ == "__main__":
    run_command(main, "plan")
