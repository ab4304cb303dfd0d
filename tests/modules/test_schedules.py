"""Learning rates over a training: each schedule reaches its peak and its end, and continues when a run resumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from src import train as training
from src.errors import UserError
from src.models.checks import read_training
from src.modules import schedules
from src.runs.folder import RunFolder
from tests.callbacks.test_phases import Watch, watch  # noqa: F401
from tests.conftest import composed, longer, power_cut

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
PEAK = 5e-3  # of a linear head alone
SMALL = ["model=bert_linear", "freeze=all", "data.batch_size=8", "callbacks=no_early_stopping"]  # eight batches
WARMUP, RISE = 0.06, 0.3  # as in conf/scheduler


def share(name: str, move: int, moves: int) -> float:
    """What a schedule makes of the peak after some of its moves, written down from the definitions."""
    if name == "onecycle":
        top = min(round(RISE * moves), max(0, moves - 2))
        if move < top:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * move / top)) / 2
        left = min(1.0, (move - top) / max(1, moves - 1 - top))
        return 0.04e-4 + (1 - 0.04e-4) * (1 + math.cos(math.pi * left)) / 2
    ramp = 0 if name == "constant" else round(WARMUP * moves)
    if move < ramp:
        return (move + 1) / (ramp + 1)
    left = (move - ramp) / (moves - ramp)
    return {"constant": 1.0, "linear": 1 - left, "cosine": (1 + math.cos(math.pi * left)) / 2}[name]


LENGTHS = {
    "trainer.max_epochs=3": [8, 8, 8],
    "trainer.max_epochs=2 trainer.accumulate_grad_batches=3": [3, 3],
    "trainer.max_epochs=9 trainer.max_steps=20": [8, 8, 4],
    "trainer.max_epochs=3 trainer.max_steps=99 trainer.limit_train_batches=0.5": [4, 4, 4],
    "trainer.max_epochs=9 trainer.max_steps=5 trainer.limit_train_batches=7 trainer.accumulate_grad_batches=4": [
        2,
        2,
        1,
    ],
    "trainer.max_epochs=4 trainer.overfit_batches=2": [2, 2, 2, 2],
}


@pytest.mark.parametrize("options", LENGTHS)
@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "onecycle"])
def test_a_schedule_is_planned_over_what_it_is_moved_by(
    name: str,
    interval: str,
    options: str,
    run_tiny: Run,
    watch: Watch,  # noqa: F811
) -> None:
    run_tiny(*SMALL, f"scheduler={name}", f"scheduler.interval={interval}", *options.split())
    epochs = LENGTHS[options]
    rates = [step["head"] for step in watch.rates]
    moves = list(range(sum(epochs))) if interval == "step" else [i for i, n in enumerate(epochs) for _ in range(n)]
    planned = sum(epochs) if interval == "step" else len(epochs)
    assert rates == pytest.approx([PEAK * share(name, move, planned) for move in moves], rel=1e-6)
    assert max(rates) == PEAK
    if name == "onecycle":
        assert rates[-1] == pytest.approx(0.04e-4 * PEAK)
    elif name != "constant":
        assert watch.module.trainer.lr_scheduler_configs[0].scheduler.factor(planned) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shape", [0.0, 0.06, 0.3, 0.99, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 37])
@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "one_cycle"])
def test_every_schedule_has_the_peak_in_one_of_its_steps(name: str, steps: int, shape: float) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = getattr(schedules, name)(optimizer, steps, shape)
    rates = [PEAK * schedule.factor(step) for step in range(steps)]
    assert max(rates) == PEAK
    top = rates.index(PEAK)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if name == "one_cycle" and steps > 1:
        assert rates[-1] == pytest.approx(PEAK / 25e4)


def test_momentum_goes_the_other_way_in_one_cycle() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    for optimizer in (torch.optim.SGD([parameter], lr=1.0, momentum=0.5), torch.optim.Adam([parameter], lr=1.0)):
        schedule = schedules.one_cycle(optimizer, 11, 0.3)
        found = []
        for _ in range(11):
            group = optimizer.param_groups[0]
            found.append(group["betas"][0] if "betas" in group else group["momentum"])
            optimizer.step()
            schedule.step()
        assert [found[0], found[3], found[-1]] == pytest.approx([0.95, 0.85, 0.95])
        assert min(found) == found[3]


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "onecycle", "plateau"])
def test_a_finished_run_trains_on_at_the_rates_of_the_longer_plan(
    name: str,
    interval: str,
    run_tiny: Run,
    watch: Watch,  # noqa: F811
) -> None:
    if (name, interval) == ("plateau", "step"):
        return
    options = [*SMALL, f"scheduler={name}", f"scheduler.interval={interval}"]
    folder, _ = run_tiny(*options, "trainer.max_epochs=2")
    watch.rates.clear()
    _, whole = run_tiny(*options, "trainer.max_epochs=4", name="whole")
    wanted = [rates["head"] for rates in watch.rates][16:]
    watch.rates.clear()
    result = training.train(longer(folder, "trainer.max_epochs=4"), folder)
    assert [rates["head"] for rates in watch.rates] == pytest.approx(wanted, rel=1e-12)
    assert [epoch["step"] for epoch in result["history"]] == [8, 16, 24, 32] == [e["step"] for e in whole["history"]]


@pytest.mark.parametrize("epochs", [2, 3, 5])
def test_an_interrupted_cycle_goes_on_in_another_plan(epochs: int, run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    options = [*SMALL, "scheduler=onecycle", "trainer.max_epochs=3"]
    with power_cut(1, 3):
        run_tiny(*options)
    folder = RunFolder(watch.module.trainer.checkpoint_callback.last.parent.parent)
    watch.rates.clear()
    result = training.train(longer(folder, f"trainer.max_epochs={epochs}"), folder)
    found, planned = [rates["head"] for rates in watch.rates], 8 * epochs
    assert found == pytest.approx([PEAK * share("onecycle", i, planned) for i in range(12, planned)], rel=1e-6)
    assert len(result["history"]) == epochs


def test_a_checkpoint_of_pytorchs_one_cycle_can_be_gone_on_with() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    before = OneCycleLR(optimizer, PEAK, total_steps=11)
    for _ in range(4):
        optimizer.step()
        before.step()
    fresh = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = schedules.one_cycle(fresh, 20, RISE)
    fresh.load_state_dict(optimizer.state_dict())
    schedule.load_state_dict(before.state_dict())
    schedule.resume()
    assert fresh.param_groups[0]["lr"] == pytest.approx(PEAK * share("onecycle", 4, 20))


STUCK = ["scheduler=plateau", "scheduler.schedule.patience=0", "+scheduler.schedule.threshold=9"]  # halves every time


@pytest.mark.parametrize(
    ("every", "halved"),
    [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 1, 1, 2, 2]), (4, [0, 0, 0, 0, 1, 1])],
)
def test_a_plateau_counts_validations(every: int, halved: list[int], run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    run_tiny(*SMALL, *STUCK, f"trainer.check_val_every_n_epoch={every}", "trainer.max_epochs=6")
    rates = [step["head"] for step in watch.rates]
    assert rates == [PEAK / 2**times for times in halved for _ in range(8)]


def test_a_plateau_of_the_training_loss_counts_epochs(run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    watched = ["scheduler.monitor=train/loss", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4"]
    run_tiny(*SMALL, *STUCK, *watched)
    assert [step["head"] for step in watch.rates[::8]] == [PEAK, PEAK / 2, PEAK / 4, PEAK / 8]


@pytest.mark.parametrize("moment", [(2, None), (2, 3)])
def test_an_interrupted_plateau_run_ends_as_if_nothing_had_happened(
    moment: tuple[int, int | None],
    run_tiny: Run,
    watch: Watch,  # noqa: F811
) -> None:
    options = [*SMALL, *STUCK, "trainer.max_epochs=5"]
    _, whole = run_tiny(*options, name="whole")
    wanted = [step["head"] for step in watch.rates]
    watch.rates.clear()
    with power_cut(*moment):
        run_tiny(*options)
    folder = RunFolder(watch.module.trainer.checkpoint_callback.last.parent.parent)
    result = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    assert [step["head"] for step in watch.rates] == wanted
    assert result["history"] == whole["history"]


def test_a_plateau_by_steps_is_refused() -> None:
    with pytest.raises(UserError, match=r"scheduler must have interval=epoch for a plateau"):
        read_training(composed("scheduler=plateau", "scheduler.interval=step"))
    with pytest.raises(UserError, match=r"scheduler needs a metric"):
        read_training(composed("scheduler=plateau", "scheduler.monitor=null"))
