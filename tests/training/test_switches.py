"""Every switch of Lightning's Trainer works here, or is refused before anything starts."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import pytorch_lightning
import torch
import yaml
from pytorch_lightning import Callback
from sklearn.metrics import accuracy_score, f1_score

from src.config.folder import CONF
from src.config.trainer_switches import ONLY, OWN, PRECISIONS, Trainer
from src.errors import UserError
from src.grouping.comparable import check_comparable
from src.grouping.runs import read_runs
from src.models.checks import read_training
from src.prediction.predictor import Predictor
from src.runs.folder import RunFolder
from tests.callbacks.test_phases import Watch as Rates
from tests.callbacks.test_phases import add
from tests.conftest import composed
from tests.datamodules.test_masking import Train, pretrain  # noqa: F401
from tests.training.test_training import Watch, watch  # noqa: F401

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
SMALL = [
    "model=bert_linear",
    "freeze=all",
    "data.batch_size=8",
    "data.eval_batch_size=8",
]  # eight batches of each split
README = (CONF.parent / "README.md").read_text(encoding="utf-8")


def predictions(folder: RunFolder, split: str) -> list[dict[str, Any]]:
    file = folder.path / "predictions" / f"{split}.parquet"
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    return rows


def cross_entropy(rows: list[dict[str, Any]], labels: list[str]) -> float:
    return float(np.mean([-np.log(row["probabilities"][labels.index(row["true"])]) for row in rows]))


def test_the_schema_has_every_switch_of_lightnings() -> None:
    known = set(inspect.signature(pytorch_lightning.Trainer.__init__).parameters) - {"self"}
    assert set(Trainer.model_fields) == {"target", *OWN, *known}


@pytest.mark.parametrize(
    ("limit", "texts"),
    [
        ("0.5", 32),
        ("1", 8),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("0.9", 56), ("3", 24), ("1.0", 60), ("99", 60))),
    ],
)
def test_a_limited_test_is_of_the_first_texts_and_says_so(limit: str, texts: int, run_tiny: Run) -> None:
    whole, _ = run_tiny(*SMALL, "trainer.max_epochs=1", name="whole")
    folder, result = run_tiny(*SMALL, "trainer.max_epochs=1", f"trainer.limit_test_batches={limit}")
    assert result["texts"] == {"train": 60, "validation": 60, "test": texts}
    assert result["texts_left_out"] == ({"test": 60 - texts} if texts < 60 else {})
    rows = predictions(folder, "test")
    same = [(row["row"], row["text"], row["true"], row["predicted"]) for row in predictions(whole, "test")]
    assert [(row["row"], row["text"], row["true"], row["predicted"]) for row in rows] == same[:texts]
    true, said = ([row[key] for row in rows] for key in ("true", "predicted"))
    scores = result["metrics"]["test"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, said))
    found = [labels for labels in result["labels"] if labels in {*true, *said}]
    assert scores["f1_macro"] == pytest.approx(f1_score(true, said, average="macro", labels=found, zero_division=0))
    assert scores["loss"] == pytest.approx(cross_entropy(rows, result["labels"]), rel=1e-4)
    report = (folder.path / "report" / "classification_report.txt").read_text()
    assert f"(epoch 1, {texts} of 60 texts)" in report or (texts == 60 and "(epoch 1, 60 texts)" in report)


def test_a_limited_validation_decides_by_the_texts_it_has(run_tiny: Run) -> None:
    folder, result = run_tiny(*SMALL, "trainer.limit_val_batches=0.25")
    assert result["texts"]["validation"] == len(predictions(folder, "validation")) == 16
    loss = cross_entropy(predictions(folder, "validation"), result["labels"])
    best = result["history"][result["best"]["epoch"] - 1]
    assert best["validation/loss"] == pytest.approx(loss, rel=1e-4)
    assert result["metrics"]["validation"]["loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.rare
def test_limits_go_with_several_labels_and_stores_and_without_them(run_tiny: Run) -> None:
    limits = ["trainer.limit_val_batches=3", "trainer.limit_test_batches=2", "data=reviews_aspects"]
    stored, first = run_tiny(*SMALL, *limits, "trainer.max_epochs=1", name="stored")
    _, second = run_tiny(*SMALL, *limits, "trainer.max_epochs=1", "activations=off", name="live")
    assert [len(predictions(stored, split)) for split in ("validation", "test")] == [24, 16]
    assert first["thresholds"] == pytest.approx(second["thresholds"], abs=1e-5)
    assert first["metrics"]["test"] == pytest.approx(second["metrics"]["test"], abs=1e-4)


@pytest.mark.parametrize("pack", ["true", "false"])
def test_a_limited_masked_test_is_held_against_frequencies_of_the_same_tokens(
    pack: str,
    pretrain: Train,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from src.datamodules.datamodule import MaskedDataModule

    counted: list[int] = []
    real = MaskedDataModule.unigram_perplexity

    def count(data: MaskedDataModule, name: str) -> float:
        counted.append(len(data.split(name).masked_tokens(0, data.evaluated(name))))
        return real(data, name)

    monkeypatch.setattr(MaskedDataModule, "unigram_perplexity", count)
    sums: list[int] = []

    class Sums(Callback):
        def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
            sums.append(len(batch["targets"]))

    add(monkeypatch, Sums())
    _, result = pretrain(f"data.pack={pack}", "data.eval_batch_size=5", "trainer.limit_test_batches=2")
    assert counted[1] == sum(sums)
    assert len(sums) == 2
    assert 0 < result["texts"]["test"] < 80


def test_limited_training_takes_other_batches_in_each_epoch(run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    _, result = run_tiny(*SMALL, "trainer.limit_train_batches=3", "callbacks=no_early_stopping")
    assert [epoch["step"] for epoch in result["history"]] == [3, 6]
    assert len(watch.rows) == 6
    assert watch.rows[:3] != watch.rows[3:]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_share_that_leaves_no_batch_is_refused(split: str, run_tiny: Run, tmp_path: Path) -> None:
    key = f"trainer.limit_{split}_batches"
    with pytest.raises(UserError, match=rf"{key} must leave a batch of the 8 that there are; got 0\.1\.\nGive a numb"):
        run_tiny(*SMALL, f"{key}=0.1")
    with pytest.raises(UserError, match=rf"{key} must leave at least one batch; got 0\."):
        run_tiny(*SMALL, f"{key}=0")
    assert not (tmp_path / "run").exists()


def test_runs_with_tests_of_other_texts_are_not_compared(run: RunFolder) -> None:
    other = Path(shutil.copytree(run.path, run.path.with_name("other")))
    content = yaml.safe_load((other / "config.yaml").read_text())
    content["trainer"]["limit_test_batches"] = 0.5
    (other / "config.yaml").write_text(yaml.safe_dump({**content, "seed": 43}))
    with pytest.raises(UserError, match=r"these differ in trainer\.limit_test_batches"):
        check_comparable(read_runs(run.path.parent))
    own = yaml.safe_load((run.path / "config.yaml").read_text())
    own["trainer"]["limit_test_batches"] = 0.5
    own["data"]["eval_batch_size"] = 7
    (run.path / "config.yaml").write_text(yaml.safe_dump(own))
    with pytest.raises(UserError, match=r"these differ in data\.eval_batch_size"):
        check_comparable(read_runs(run.path.parent))


@pytest.fixture
def restored() -> Iterator[None]:
    """Puts back what the Trainer sets for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


class Modes(Callback):
    """What holds while a model trains and is tested."""

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self.anomaly = torch.is_anomaly_enabled()
        self.deterministic = torch.are_deterministic_algorithms_enabled()
        self.warns = torch.is_deterministic_algorithms_warn_only_enabled()
        self.benchmark = torch.backends.cudnn.benchmark

    def on_test_batch_start(self, *_: Any) -> None:
        self.inference, self.grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("override", "seen"),
    [
        ("trainer.detect_anomaly=true", {"anomaly": True}),
        ("trainer.detect_anomaly=false", {"anomaly": False}),
        ("trainer.deterministic=true", {"deterministic": True, "warns": False}),
        ("trainer.deterministic=warn", {"deterministic": True, "warns": True}),
        ("trainer.benchmark=true", {"benchmark": True}),
        ("trainer.inference_mode=true", {"inference": True, "grad": False}),
        ("trainer.inference_mode=false", {"inference": False, "grad": False}),
    ],
)
def test_modes_of_pytorch_hold(
    override: str, seen: dict[str, bool], run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = Modes()
    add(monkeypatch, modes)
    run_tiny(*SMALL, "trainer.max_epochs=1", override)
    assert {name: getattr(modes, name) for name in seen} == seen


@pytest.mark.parametrize("steps", ["1", "-1"])
def test_a_sanity_check_changes_nothing(steps: str, run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plain = run_tiny(*SMALL, name="plain")
    seen: list[bool] = []

    class Sanity(Callback):
        def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
            seen.append(trainer.sanity_checking)

    add(monkeypatch, Sanity())
    _, checked = run_tiny(*SMALL, f"trainer.num_sanity_val_steps={steps}", name="checked")
    assert sum(seen) == (8 if steps == "-1" else 1)
    assert (checked["history"], checked["metrics"]) == (plain["history"], plain["metrics"])


@pytest.mark.parametrize("kind", ["simple", "advanced"])
def test_a_profile_is_left_in_the_folder_of_the_run(kind: str, run_tiny: Run) -> None:
    folder, _ = run_tiny(*SMALL, "trainer.max_epochs=1", f"trainer.profiler={kind}", "trainer.limit_train_batches=4")
    files = list((folder.path / "profile").iterdir())
    assert any(kind in file.name and file.stat().st_size for file in files)


@pytest.mark.slow
def test_progress_and_summary_can_be_turned_off_and_on(
    run_tiny: Run,
    watch: Watch,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = "callbacks.progress={_target_:src.callbacks.progress.Progress,refresh_rate:1}"
    run_tiny(*SMALL, "trainer.max_epochs=1", shown, name="file")
    assert watch.module.trainer.progress_bar_callback is None  # it would be hundreds of lines
    assert "\nEpoch 1 of 1: " in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run_tiny(*SMALL, "trainer.max_epochs=1", shown, "trainer.enable_progress_bar=false", name="quiet")
    assert watch.module.trainer.progress_bar_callback is None
    assert "Trainable params" not in capsys.readouterr().out
    run_tiny(*SMALL, "trainer.max_epochs=1", shown, "trainer.enable_model_summary=true", name="loud")
    assert watch.module.trainer.progress_bar_callback is not None
    assert "Trainable params" in capsys.readouterr().out


def _logged(folder: RunFolder) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.path / "tensorboard" / "all_seed_42"))
    events.Reload()
    known = "train/loss_step" in events.Tags()["scalars"]
    return [event.step for event in events.Scalars("train/loss_step")] if known else []


@pytest.mark.parametrize(("every", "points"), [("0", 0), ("1", 16), ("4", 4)])
def test_the_loss_is_logged_every_so_many_steps(every: str, points: int, run_tiny: Run) -> None:
    folder, _ = run_tiny(*SMALL, f"trainer.log_every_n_steps={every}")
    assert len(_logged(folder)) == points


@pytest.mark.parametrize(("algorithm", "largest"), [("norm", None), ("value", 1e-3)])
def test_gradients_are_clipped_by_norm_or_by_value(
    algorithm: str, largest: float | None, run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[torch.Tensor]] = []

    class Steps(Callback):
        def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            grads = [p.grad.clone() for p in pl_module.parameters() if p.grad is not None]
            if grads:
                steps.append(grads)

    add(monkeypatch, Steps())
    clip = ["trainer.gradient_clip_val=1e-3", f"trainer.gradient_clip_algorithm={algorithm}"]
    run_tiny(*SMALL, "freeze=none", "optimizer=sgd", "trainer.max_epochs=1", *clip)
    norms = [float(torch.nn.utils.get_total_norm(grads)) for grads in steps]
    values = [max(float(grad.abs().max()) for grad in grads) for grads in steps]
    assert len(steps) == 7
    if largest is None:
        assert norms == pytest.approx([1e-3] * 7, rel=1e-3)
    else:
        assert values == pytest.approx([largest] * 7)
        assert min(norms) > 2e-3


def test_no_clipping_is_null_or_zero(run_tiny: Run) -> None:
    found = [run_tiny(*SMALL, f"trainer.gradient_clip_val={v}", name=v)[1]["history"] for v in ("null", "0", "1e9")]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("precision", ["64-true", "64", "32-true", "32", "bf16-mixed", "bf16"])
@pytest.mark.parametrize("freeze", ["all", "none"])
def test_precisions_that_work(precision: str, freeze: str, run_tiny: Run) -> None:
    folder, result = run_tiny(*SMALL, f"freeze={freeze}", f"trainer.precision={precision}")
    kind = torch.float64 if precision.startswith("64") else torch.float32
    state = torch.load(folder.best_checkpoint, weights_only=True)["state_dict"]
    assert {tensor.dtype for tensor in state.values()} == {kind}
    assert all(np.isfinite(epoch["validation/loss"]) for epoch in result["history"])
    rows = predictions(folder, "test")
    found = Predictor.load(folder.path).probabilities([row["text"] for row in rows])
    wanted = np.array([row["probabilities"] for row in rows])
    assert np.abs(found - wanted).max() < (0.02 if "bf16" in precision else 1e-5)


@pytest.mark.parametrize("precision", [*PRECISIONS, "16-mixed", "16"])
def test_precisions_that_are_refused(precision: str, run_tiny: Run, tmp_path: Path) -> None:
    message = r"16-mixed needs a GPU" if precision in ("16-mixed", "16") else rf"cannot be {precision}: .*\nChoose "
    with pytest.raises(UserError, match=message):
        run_tiny(*SMALL, f"trainer.precision={precision}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_a_gpu_that_is_not_there_is_missed_before_data_is_read(
    accelerator: str, run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=rf"trainer\.accelerator={accelerator} needs a GPU.*\nChoose trainer=auto"):
        run_tiny("trainer=gpu", f"trainer.accelerator={accelerator}", "data.path=nowhere.csv")
    assert not (tmp_path / "run").exists()


OTHERS = {
    "fast_dev_run": ["true", "1", "3"],
    "barebones": ["true"],
    "enable_checkpointing": ["false"],
    "val_check_interval": ["0.5", "1", "10", "00:00:01:00"],
    "reload_dataloaders_every_n_epochs": ["1"],
    "use_distributed_sampler": ["true"],
    "sync_batchnorm": ["true"],
    "enable_autolog_hparams": ["false"],
    "limit_predict_batches": ["2", "0.5"],
    "default_root_dir": ["/tmp"],
    "model_registry": ["name"],
    "logger": ["false"],
    "callbacks": ["[a]"],
    "plugins": ["a"],
}


@pytest.mark.parametrize("key", OTHERS)
def test_a_switch_with_one_value_refuses_others_and_says_why(key: str) -> None:
    assert OTHERS.keys() == ONLY.keys()
    for value in OTHERS[key]:
        with pytest.raises(UserError, match=rf"^trainer\.{key} must be \S+, since .*; got .*\.\n\w.*\.$"):
            read_training(composed(f"trainer.{key}={value}"))


BAD = {
    "trainer.strategy=fsdp": r"trainer\.strategy must be auto or ddp, since .*; got fsdp",
    "trainer.max_steps=0": r"trainer\.max_steps must be a number of steps, at least 1, or -1",
    "trainer.max_steps=2.5": r"trainer\.max_steps must be a number of steps",
    "trainer.max_epochs=0": r"trainer\.max_epochs",
    "trainer.max_epochs=-1": r"trainer\.max_epochs",
    "trainer.max_time=tomorrow": r"trainer\.max_time must be DAYS:HOURS:MINUTES:SECONDS.*; got tomorrow",
    "trainer.max_time={years:1}": r"trainer\.max_time must be",
    "trainer.max_time=00:00:00:00": r"trainer\.max_time must be",
    "trainer.max_time={hours:0}": r"trainer\.max_time must be",
    "trainer.max_time={hours:inf}": r"trainer\.max_time must be",
    "trainer.max_time={hours:one}": r"trainer\.max_time must be",
    "trainer.limit_train_batches=inf": r"trainer\.limit_train_batches must be a number of batches.*; got inf",
    "trainer.overfit_batches=nan": r"trainer\.overfit_batches must be a number of batches.*; got nan",
    "trainer.limit_test_batches=1.5": r"trainer\.limit_test_batches must be a number of batches, or a fraction",
    "trainer.limit_val_batches=-1": r"trainer\.limit_val_batches must be a number of batches, or a fraction",
    "trainer.limit_train_batches=half": r"trainer\.limit_train_batches must be a number of batches, or a fraction",
    "trainer.overfit_batches=true": r"trainer\.overfit_batches must be a number of batches, or a fraction",
    "trainer.min_epochs=11": r"trainer\.min_epochs must be at most trainer\.max_epochs; got 11 and 10",
    "trainer.min_steps=9 trainer.max_steps=5": r"trainer\.min_steps must be at most trainer\.max_steps; got 9 and 5",
    "trainer.deterministic=maybe": r"trainer\.deterministic must be true, false or warn; got maybe",
    "trainer.profiler=xla": r"trainer\.profiler cannot be xla: it is for TPUs",
    "trainer.profiler=pytorch": r"trainer\.profiler cannot be pytorch: it stops runs",
    "trainer.profiler=quick": r"trainer\.profiler",
    "trainer.gradient_clip_algorithm=max": r"trainer\.gradient_clip_algorithm",
    "trainer.num_sanity_val_steps=-2": r"trainer\.num_sanity_val_steps",
    "+trainer.max_step=3": r"trainer\.max_step is not a key of this config\.\nDid you mean max_steps\?",
}


@pytest.mark.parametrize("overrides", BAD)
def test_what_a_switch_cannot_be_is_said_once(overrides: str) -> None:
    with pytest.raises(UserError, match=BAD[overrides]) as refused:
        read_training(composed(*overrides.split()))
    key = overrides.split()[0].partition("=")[0].removeprefix("+")
    assert str(refused.value).count(key) == 1 + str(refused.value).count(f"{key}=")


def test_an_unknown_device_is_refused_in_lightnings_words(run_tiny: Run) -> None:
    with pytest.raises(UserError, match="trainer cannot be built"):
        run_tiny(*SMALL, "trainer.accelerator=abacus")


def test_rates_are_watched_where_the_schedule_is_short(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates()
    add(monkeypatch, rates)
    run_tiny(*SMALL, "trainer.max_steps=3", "scheduler=constant")
    assert len(rates.rates) == 3


@pytest.mark.parametrize("name", ["EMAWeightAveraging", "StochasticWeightAveraging"])
def test_callbacks_that_average_weights_are_refused(name: str, run_tiny: Run) -> None:
    averaging = f"callbacks.averaging={{_target_:pytorch_lightning.callbacks.{name}}}"
    rates = ["+callbacks.averaging.swa_lrs=1e-3"] if name.startswith("Stochastic") else []
    with pytest.raises(UserError, match=rf"callbacks\.averaging must not average weights.*; got {name}"):
        run_tiny(*SMALL, f"+{averaging}", *rates)
