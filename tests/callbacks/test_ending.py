"""When a training ends and why: early stopping, steps, time; and what is left to train of a run that has ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback

from src import train as training
from src.errors import UserError
from src.prediction.predictor import Predictor
from src.report.plots import curves
from src.runs.folder import JOB, RunFolder
from tests.callbacks.test_phases import Watch as Rates
from tests.callbacks.test_phases import add
from tests.conftest import composed, longer, main, power_cut, refusal
from tests.training.test_training import Watch, watch  # noqa: F401

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
SMALL = ["model=bert_linear", "freeze=all", "data.batch_size=8"]  # eight batches an epoch
# Nothing is better than the first validation by so much.
STUCK = ["callbacks.early_stopping.patience=2", "+callbacks.early_stopping.min_delta=9"]


def test_an_early_stop_is_said_in_log_and_result(run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder, result = run_tiny(*SMALL, *STUCK, "trainer.max_epochs=9")
    reason = "validation/loss has not improved for 2 validations (callbacks.early_stopping.patience=2)"
    assert result["ended"] == {"by": "early_stopping", "epoch": 3, "step": 24, "reason": reason}
    said = f"Stopped early, after step 24, in epoch 3 of 9: {reason}. The best is epoch {result['best']['epoch']}."
    assert said in caplog.text
    assert said in folder.log.read_text()


def test_patience_that_ends_with_the_last_epoch_is_no_early_stop(
    run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    _, result = run_tiny(*SMALL, *STUCK, "trainer.max_epochs=3")
    assert result["ended"] == {"by": "max_epochs", "epoch": 3, "step": 24}
    assert "Stopped early" not in caplog.text


def test_patience_counts_validations(run_tiny: Run) -> None:
    _, result = run_tiny(*SMALL, *STUCK, "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=3")
    assert result["ended"]["epoch"] == 9


def test_early_stopping_by_the_training_loss_counts_epochs(run_tiny: Run) -> None:
    watched = ["monitor.metric=train/loss", "trainer.check_val_every_n_epoch=4"]
    _, result = run_tiny(*SMALL, *STUCK, *watched, "trainer.max_epochs=9")
    assert result["ended"]["epoch"] == 3
    assert "for 2 epochs" in result["ended"]["reason"]


@pytest.mark.rare
def test_a_stopped_run_says_how_it_goes_on(run_tiny: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = run_tiny(*SMALL, *STUCK, "trainer.max_epochs=9")
    place = [f"run={folder.path}", "resume=true"]
    said = refusal("train", [*place, "trainer.max_epochs=20"], capsys)
    assert "stopped early, after epoch 3, since validation/loss had not improved for 2 validations" in said
    assert "callbacks.early_stopping.patience=N" in said
    assert "callbacks=no_early_stopping" in said
    assert "Train it longer with callbacks.early_stopping.patience=N or callb" in refusal("train", place, capsys)
    assert (folder.state(), folder.read_result()) == ("finished", before)
    main("train", [*place, "callbacks.early_stopping.patience=4"])
    assert [epoch["epoch"] for epoch in folder.read_result()["history"]] == [1, 2, 3, 4, 5]
    assert folder.read_result()["ended"]["epoch"] == 5
    main("train", [*place, "callbacks.early_stopping=null", "trainer.max_epochs=7"])
    assert folder.read_result()["ended"] == {"by": "max_epochs", "epoch": 7, "step": 56}
    main("train", [*place, "callbacks=no_early_stopping", "callbacks.progress=null", "trainer.max_epochs=8"])
    assert folder.read_result()["ended"] == {"by": "max_epochs", "epoch": 8, "step": 64}


class Stop(Callback):
    """Ends a training after its first epoch."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = True


def test_an_end_by_a_callback_is_not_called_one_by_time(
    run_tiny: Run,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = "+callbacks.stop._target_=tests.callbacks.test_ending.Stop"
    folder, result = run_tiny("model=bert_linear", "freeze=gradual", "data.batch_size=8", "trainer.max_epochs=3", stop)
    assert result["ended"] == {"by": "callback", "epoch": 1, "step": 8}
    assert "Ended by a callback after step 8, in epoch 1 of 3" in caplog.text
    assert "A callback ended the training before phases 2 to" in caplog.text
    monkeypatch.setenv("THAW_TRUST", "tests.callbacks.test_ending.Stop")
    said = refusal("train", [f"run={folder.path}", "resume=true"], capsys)
    assert "Train it longer with other options of the callback that ended it, or start a new run." in said


THRESHOLDS = [
    ("validation/accuracy", "stopping_threshold", "0.0", "1.1"),  # that stop after the first epoch, and never
    ("validation/loss", "divergence_threshold", "0.0", "99.0"),
]


@pytest.mark.parametrize(("metric", "key", "reached", "other"), THRESHOLDS)
def test_a_run_that_has_reached_a_threshold_stays_stopped(
    metric: str, key: str, reached: str, other: str, run_tiny: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    key = f"callbacks.early_stopping.{key}"
    folder, before = run_tiny(*SMALL, f"monitor.metric={metric}", f"+{key}={reached}", "trainer.max_epochs=3")
    assert before["ended"]["reason"] == f"{metric} has reached {key}={reached}"
    place = [f"run={folder.path}", "resume=true"]
    folder.write_status("running")  # killed before its results
    again = training.train(composed(*place), folder)
    for kept in ("history", "metrics", "ended"):
        assert again[kept] == before[kept]
    said = refusal("train", [*place, "trainer.max_epochs=4"], capsys)
    assert f"has stopped early, after epoch 1, since {metric} has reached {key}={reached}; more epochs alone" in said
    longer_run = training.train(longer(folder, f"{key}={other}"), folder)
    assert longer_run["ended"]["by"] == "max_epochs"


@pytest.mark.rare
def test_a_finished_run_with_nothing_left_says_what_to_raise(run_tiny: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = run_tiny(*SMALL, "trainer.max_steps=12", "trainer.max_epochs=9")
    place = [f"run={folder.path}", "resume=true"]
    assert "Train it longer with trainer.max_steps=N" in refusal("train", place, capsys)
    same = refusal("train", [*place, "trainer.max_epochs=30"], capsys)
    assert "trainer.max_steps must be more than what the run has done, 12 steps; got 12" in same
    fewer = refusal("train", [*place, "trainer.max_steps=11"], capsys)
    assert "trainer.max_steps must be at least what the run has done, 12 steps; got 11" in fewer
    epochs = refusal("train", [*place, "trainer.max_epochs=2"], capsys)
    assert "trainer.max_epochs must be more than what the run has done, 2 epochs; got 2" in epochs
    assert (folder.state(), folder.read_result()) == ("finished", before)


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_can_keep_its_weights_alone(
    asked: bool, run_tiny: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = run_tiny(*SMALL, "freeze=none", name="whole")
    if not asked:
        monkeypatch.setenv(JOB, "1")
    folder, result = run_tiny(*SMALL, "freeze=none", *["callbacks.checkpoint.weights_only=true"] * asked)
    assert {file.name for file in (folder.path / "checkpoints").iterdir()} == {"best.ckpt", "best.ckpt.sha256"}
    assert folder.best_checkpoint.stat().st_size < whole.best_checkpoint.stat().st_size / 2
    folder.check_weights(result)
    wanted = Predictor.load(whole.path).probabilities(["Good camera."])
    assert Predictor.load(folder.path).probabilities(["Good camera."]).tolist() == wanted.tolist()
    said = refusal("train", [f"run={folder.path}", "resume=true", "trainer.max_epochs=9"], capsys)
    assert "it has weights only, as finished jobs of a multirun keep them.\nStart a new run; with callbacks." in said


@pytest.mark.parametrize("steps", [1, 3, 8, 11, 16])
@pytest.mark.parametrize("freeze", ["all", "gradual"])
def test_a_training_of_so_many_steps_ends_with_a_validation(
    steps: int, freeze: str, run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = Rates()
    add(monkeypatch, rates)
    folder, result = run_tiny(*SMALL, f"freeze={freeze}", f"trainer.max_steps={steps}", "trainer.max_epochs=5")
    epochs = -(-steps // 8)
    assert result["ended"] == {"by": "max_steps", "epoch": epochs, "step": steps}
    assert [epoch["step"] for epoch in result["history"]] == [min(steps, 8 * (i + 1)) for i in range(epochs)]
    assert all("validation/loss" in epoch for epoch in result["history"])
    assert len(rates.rates) == steps
    assert torch.load(folder.last_checkpoint, weights_only=True)["global_step"] == steps
    assert [phase["last_step"] for phase in result["phases"]][-1] == steps
    assert len(result["phases"]) == (epochs if freeze == "gradual" else 1)
    assert json.loads((folder.path / "status.json").read_text())["state"] == "finished"


def test_more_steps_than_the_epochs_have_are_said(run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    _, result = run_tiny(*SMALL, "trainer.max_steps=99")
    assert result["ended"] == {"by": "max_epochs", "epoch": 2, "step": 16}
    assert "trainer.max_epochs=2 ends the training after 16 steps, before trainer.max_steps=99." in caplog.text


def test_steps_before_the_first_validation_are_refused(run_tiny: Run, tmp_path: Path) -> None:
    options = [*SMALL, "trainer.max_epochs=9", "trainer.check_val_every_n_epoch=3"]
    with pytest.raises(UserError, match=r"trainer\.max_steps must not end the training before its first validation"):
        run_tiny(*options, "trainer.max_steps=16")
    assert not (tmp_path / "run").exists()
    _, result = run_tiny(*options, "trainer.max_steps=17")
    assert [("validation/loss" in epoch) for epoch in result["history"]] == [False, False, True]


def test_epochs_that_must_be_trained_cannot_be_more_than_the_steps(run_tiny: Run) -> None:
    with pytest.raises(UserError, match=r"trainer\.min_epochs must end before trainer\.max_steps; 2 epochs have 16"):
        run_tiny(*SMALL, "trainer.min_epochs=2", "trainer.max_steps=9")


@pytest.mark.parametrize(("least", "epochs"), [("min_epochs=5", 5), ("min_steps=30", 4), ("min_epochs=2", 3)])
def test_nothing_stops_early_before_its_time(least: str, epochs: int, run_tiny: Run) -> None:
    _, result = run_tiny(*SMALL, *STUCK, "trainer.max_epochs=9", f"trainer.{least}")
    assert result["ended"]["by"] == "early_stopping"
    assert result["ended"]["epoch"] == epochs


@pytest.mark.parametrize("every", [1, 5])
def test_a_training_whose_time_is_up_ends_with_a_validation(every: int, run_tiny: Run) -> None:
    folder, result = run_tiny(
        *SMALL, "trainer.max_time={seconds:0.001}", "trainer.max_epochs=9", f"trainer.check_val_every_n_epoch={every}"
    )
    assert result["ended"]["by"] == "max_time"
    assert result["ended"]["step"] >= 1
    assert "validation/loss" in result["history"][-1]
    assert result["best"]["epoch"] == 1
    assert folder.state() == "finished"


@pytest.mark.rare
def test_a_run_whose_time_was_up_goes_on_with_more(run_tiny: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = run_tiny(*SMALL, "trainer.max_time={seconds:0.001}", "trainer.max_epochs=2")
    place = [f"run={folder.path}", "resume=true"]
    assert "trainer.max_time must be longer than" in refusal("train", [*place, "trainer.max_epochs=9"], capsys)
    main("train", [*place, "trainer.max_time=00:01:00:00"])
    assert folder.read_result()["ended"]["by"] == "max_epochs"


@pytest.mark.rare
def test_a_run_that_goes_on_after_its_steps_begins_the_next_epoch(
    run_tiny: Run,
    watch: Watch,  # noqa: F811
) -> None:
    folder, _ = run_tiny(*SMALL, "trainer.max_steps=11", "trainer.max_epochs=4")
    watch.rows.clear()
    run_tiny(*SMALL, "trainer.max_epochs=4", name="whole")
    third = watch.rows[16:24]
    watch.rows.clear()
    result = training.train(longer(folder, "trainer.max_steps=19"), folder)
    assert [(epoch["epoch"], epoch["step"]) for epoch in result["history"]] == [(1, 8), (2, 11), (3, 19)]
    assert result["ended"] == {"by": "max_steps", "epoch": 3, "step": 19}
    assert watch.rows == third
    assert [phase["last_step"] for phase in result["phases"]] == [19]


@pytest.mark.parametrize("moment", [(0, 5), (1, 1), (1, None)])
def test_an_interrupted_training_of_so_many_steps_ends_as_if_nothing_had_happened(
    moment: tuple[int, int | None], run_tiny: Run, tmp_path: Path
) -> None:
    options = [*SMALL, "trainer.max_steps=11", "trainer.max_epochs=4", "freeze=none"]
    whole, wanted = run_tiny(*options, name="whole")
    with power_cut(*moment):
        run_tiny(*options, name="broken")
    folder = RunFolder(tmp_path / "broken")
    result = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    for key in ("history", "metrics", "best", "ended"):
        assert result[key] == wanted[key]
    one, other = (torch.load(f.last_checkpoint, weights_only=True)["state_dict"] for f in (whole, folder))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_that_was_killed_before_its_results_takes_no_step_more(run_tiny: Run) -> None:
    folder, before = run_tiny(*SMALL, "trainer.max_steps=11", "trainer.max_epochs=4")
    folder.write_status("running")
    again = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    assert (again["history"], again["metrics"], again["ended"]) == (
        before["history"],
        before["metrics"],
        before["ended"],
    )


def test_phases_that_the_steps_do_not_reach_are_named_with_what_to_raise(
    run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run_tiny("model=bert_linear", "data.batch_size=8", "freeze=gradual", "trainer.max_steps=9", "trainer.max_epochs=9")
    assert "The epochs do not reach phases 3 to 5. Raise trainer.max_steps to reach them." in caplog.text


@pytest.mark.parametrize(("every", "validated"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3])])
def test_epochs_without_a_validation_have_no_scores_of_one(every: int, validated: list[int], run_tiny: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, result = run_tiny(*SMALL, f"trainer.check_val_every_n_epoch={every}", "trainer.max_epochs=4")
    history = result["history"]
    assert [epoch["epoch"] for epoch in history if "validation/loss" in epoch] == validated
    assert all("train/loss" in epoch and "train/accuracy" in epoch for epoch in history)
    assert all(("validation/accuracy" in epoch) == (epoch["epoch"] in validated) for epoch in history)
    losses = curves(history, 1, "curves").axes[0]
    lines = {line.get_label(): list(line.get_xdata()) for line in losses.get_lines()}  # type: ignore[arg-type]
    assert (lines["train"], lines["validation"]) == ([1, 2, 3, 4], validated)
    events = EventAccumulator(str(folder.path / "tensorboard" / "all_seed_42"))
    events.Reload()
    shown = events.Scalars("validation/loss")
    assert [event.value for event in shown] == pytest.approx([history[i - 1]["validation/loss"] for i in validated])
    assert result["best"]["epoch"] in validated


def test_the_table_of_curves_has_no_scores_of_other_epochs(run_tiny: Run) -> None:
    import csv

    options = ["logger=csv", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4"]
    folder, _ = run_tiny(*SMALL, *options)
    with (folder.path / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted({row["epoch"] for row in rows if row["validation/loss"]}) == ["1", "3"]
    assert sorted({row["epoch"] for row in rows if row["train/loss"]}) == ["0", "1", "2", "3"]


def test_a_phase_by_plateau_counts_validations(run_tiny: Run) -> None:
    stuck = ["freeze=gradual", "freeze.until=plateau", "freeze.min_delta=9", "freeze.patience=2"]
    options = ["model=bert_linear", *stuck, "freeze.down_to=layer.2", "trainer.check_val_every_n_epoch=2"]
    _, result = run_tiny(*options, "trainer.max_epochs=8", "callbacks=no_early_stopping")
    assert [phase["epochs"] for phase in result["phases"]] == [6, 2]


class Interrupt(Callback):
    """Asks the training to stop while it validates for the last time."""

    def on_validation_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 11:
            trainer.checkpoint_callback.asked = 15


def test_a_run_told_to_stop_in_its_last_validation_goes_on_from_before_it(run_tiny: Run, tmp_path: Path) -> None:
    options = [*SMALL, "trainer.max_steps=11", "trainer.max_epochs=4"]
    _, wanted = run_tiny(*options, name="whole")
    with pytest.MonkeyPatch.context() as patch:
        add(patch, Interrupt())
        with pytest.raises(SystemExit):
            run_tiny(*options, name="broken")
    folder = RunFolder(tmp_path / "broken")
    assert folder.state() == "interrupted"
    result = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    assert (result["history"], result["metrics"], result["ended"]) == (
        wanted["history"],
        wanted["metrics"],
        wanted["ended"],
    )
