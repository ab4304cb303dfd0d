"""A training whose loss or weights are no longer finite ends as failed, and leaves the checkpoints from before."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.precision import MixedPrecision

from src import train as training
from src.callbacks import divergence
from src.callbacks.divergence import DivergenceError
from src.config.folder import CONF
from src.modules.classifier import TextClassifier
from src.runs.folder import RunFolder
from src.training import trainer as trainers
from tests.callbacks.test_phases import add
from tests.conftest import Command, composed, refusal
from tests.datamodules.test_masking import Train, pretrain  # noqa: F401

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
SMALL = ["model=bert_linear", "freeze=none", "data.batch_size=8"]  # eight batches an epoch
FAR = ["optimizer.head_lr=1e20", "optimizer.lr=1e20"]


class Poison(Callback):
    """Makes a weight NaN at a hook, once."""

    def __init__(self, hook: str, epoch: int, batch: int | None = None, heal: str = "") -> None:
        self.hook, self.epoch, self.batch, self.heal = hook, epoch, batch, heal
        self.kept: torch.Tensor | None = None

    def _strike(self, hook: str, trainer: Any, module: TextClassifier, batch: int | None = None) -> None:
        weight = module.head.linear.weight.data
        if hook == self.heal and self.kept is not None:
            weight.copy_(self.kept)
        if (hook, trainer.current_epoch, batch) == (self.hook, self.epoch, self.batch) and self.kept is None:
            self.kept = weight.clone()
            weight[0, 0] = math.nan

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._strike("batch", trainer, pl_module, batch_idx)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._strike("validation", trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._strike("validated", trainer, pl_module)


class Losses(Callback):
    """Makes the loss of some steps infinite, as it is reported."""

    def __init__(self, *batches: int) -> None:
        self.batches, self.last = batches, -1

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.last = batch_idx

    def on_train_batch_start(self, trainer: Any, pl_module: TextClassifier, batch: Any, batch_idx: int) -> None:
        if batch_idx in self.batches:
            batch["weights"] = batch["weights"] * torch.inf


def finite(file: Path) -> bool:
    state = torch.load(file, weights_only=True)["state_dict"]
    return all(bool(tensor.isfinite().all()) for tensor in state.values())


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(run_tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"diverged at step [23]: the loss is no finite number") as ended:
        run_tiny(*SMALL, *FAR)
    assert r"optimizer.lr (1e+20) or optimizer.head_lr (1e+20)" in str(ended.value)
    folder = RunFolder(tmp_path / "run")
    assert folder.state() == "failed"
    assert "Training diverged at step" in folder.problem()
    assert not (folder.path / "result.json").exists()
    assert not any(file.exists() for file in folder.checkpoints)


MOMENTS = {
    "before a validation": (Poison("validation", 1), "the validation loss is nan", 16),
    "after the last validation": (Poison("validated", 1), r"weights of head\.linear\.weight are no finite", 16),
    "in an epoch": (Poison("batch", 1, 3), "the loss is no finite number", 13),
    "seen in validation alone": (Poison("validation", 1, heal="validated"), "the validation loss is nan", 16),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_checkpoints_from_before_are_kept(
    moment: str, run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, message, step = MOMENTS[moment]
    poison.kept = None
    add(monkeypatch, poison)
    with pytest.raises(DivergenceError, match=f"diverged at step {step}: {message}"):
        run_tiny(*SMALL, "trainer.max_epochs=3")
    folder = RunFolder(tmp_path / "run")
    for file in folder.checkpoints:
        assert finite(file)
        assert torch.load(file, weights_only=True)["global_step"] == 8


def test_weights_are_looked_at_before_a_checkpoint_within_an_epoch(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, Poison("batch", 0, 2))
    with pytest.raises(DivergenceError, match=r"step 3: weights of head\.linear\.weight are no finite numbers"):
        run_tiny(*SMALL, "callbacks.checkpoint.every_minutes=0")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert finite(last)
    assert torch.load(last, weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(("every", "batch", "seen"), [(3, 4, 5), (3, 5, 5), (0, 1, 7), (100, 6, 7)])
def test_where_a_look_takes_time_several_losses_are_looked_at_together(
    every: int, batch: int, seen: int, run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divergence, "_waits", lambda trainer: True)
    losses = Losses(batch)
    add(monkeypatch, losses)
    with pytest.raises(DivergenceError, match=f"diverged at step {batch + 1}: the loss"):
        run_tiny(*SMALL, f"trainer.log_every_n_steps={every}")
    assert losses.last in (seen, seen - 1)  # the look itself comes first in its step


def test_a_step_of_several_batches_is_counted_as_one(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, Losses(4))
    with pytest.raises(DivergenceError, match="diverged at step 2: the loss"):
        run_tiny(*SMALL, "trainer.accumulate_grad_batches=3")


@pytest.mark.parametrize("scale", [2.0**16, 2.0**40])
def test_steps_that_a_float16_scaler_leaves_out_are_no_divergence(
    scale: float, run_tiny: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As on a GPU: the config asks for 16-mixed, which Lightning has on processors only when it is made by hand.
    real = trainers.instantiate

    def instantiate(node: Any, key: str, kind: type[Any] = object, **given: Any) -> Any:
        if key == "trainer":
            plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))
            given |= {"precision": None, "plugins": [*given["plugins"], plugin]}
        return real(node, key, kind, **given)

    monkeypatch.setattr(trainers, "instantiate", instantiate)
    monkeypatch.setattr("src.train.check_device", lambda cfg: None)
    _, result = run_tiny(
        *SMALL, "trainer.precision=16-mixed", "trainer.max_epochs=1", "trainer.accumulate_grad_batches=2"
    )
    rows = result["phases"][0]["audit"]
    overflows = scale > 2.0**16  # in each of the four steps
    assert all((row["before"] == row["after"]) == overflows for row in rows)
    assert ("no gradient was finite" in caplog.text) == overflows
    assert all(math.isfinite(epoch["train/loss"]) for epoch in result["history"])


def test_masked_language_models_diverge_too(pretrain: Train, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(DivergenceError, match=r"diverged at step \d: the loss"):
        pretrain("optimizer.lr=1e20", "optimizer.head_lr=1e20", "data.batch_size=8")
    assert RunFolder(tmp_path / "mlm").state() == "failed"


@pytest.mark.filterwarnings("ignore:Error detected in:UserWarning")
def test_the_operation_is_named_where_anomalies_are_looked_for(run_tiny: Run) -> None:
    with pytest.raises(DivergenceError, match=r"diverged at step \d: .*Backward.*returned nan values"):
        run_tiny(*SMALL, *FAR, "trainer.detect_anomaly=true")


def test_a_diverged_run_goes_on_from_what_it_has_kept(run_tiny: Run, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        add(patch, Poison("batch", 1, 3))
        with pytest.raises(DivergenceError):
            run_tiny(*SMALL, name="broken")
    _, whole = run_tiny(*SMALL, name="whole")
    folder = RunFolder(tmp_path / "broken")
    result = training.train(composed(f"run={folder.path}", "resume=true"), folder)
    assert result["history"] == whole["history"]


def test_the_command_ends_with_one_message(tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = [
        f"backbone.name={tiny_bert}",
        "data.limit=60",
        "data.max_length=32",
        "trainer=cpu",
        "callbacks.progress=null",
    ]
    said = refusal("train", [f"run={tmp_path / 'run'}", f"cache={tmp_path}", *tiny, *SMALL, *FAR], capsys)
    assert said.count("Training diverged") == 1
    assert len(said.strip().splitlines()) == 2


@pytest.mark.slow
def test_all_processes_end_together_with_one_message(tiny_bert: Path, tmp_path: Path) -> None:
    tiny = [f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "callbacks.progress=null"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.log_every_n_steps=2"]
    command = [sys.executable, "-m", "src.train", f"run={tmp_path / 'run'}", f"cache={tmp_path}", *tiny, *ddp, *SMALL]
    ended = subprocess.run([*command, *FAR], capture_output=True, text=True, cwd=CONF.parent, check=False, timeout=120)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("Training diverged at step") == 1
    assert "Traceback" not in ended.stderr
    assert RunFolder(tmp_path / "run").state() == "failed"


@pytest.mark.slow
def test_a_diverged_job_is_a_failed_one_and_wins_nothing(multirun: Command, tmp_path: Path) -> None:
    ended = multirun("model=bert_linear", "freeze=all", "optimizer.head_lr=1e-3,1e20", "data.batch_size=8")
    assert ended.returncode == 1, ended.stdout
    assert "1 of 2 jobs done, 1 failed" in ended.stdout
    found = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert len(found["rows"]) == 1
    assert "Training diverged at step" in found["problems"][0]["problem"]
