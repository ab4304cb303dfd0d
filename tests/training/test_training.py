"""Whole runs on a tiny BERT: what trains, what is left behind, what a resumed run comes to."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from pytorch_lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import train as training
from src.backbones.loading import load_encoder
from src.backbones.stages import stages_of
from src.errors import UserError
from src.models import inference
from src.modules import freezable
from src.modules.classifier import TextClassifier
from src.prediction.predictor import Predictor
from src.runs.folder import RunFolder
from src.training import parts
from tests.backbones.test_backbones import source_of
from tests.conftest import BF16, LAYERS, composed, refusal

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
EVERYTHING = {"embeddings", *(f"layer.{i}" for i in range(LAYERS)), "head"}
TRAINS = {
    "freeze=none": EVERYTHING,
    "freeze=all": {"head"},
    "freeze=embeddings": EVERYTHING - {"embeddings"},
    "freeze=bottom freeze.layers=2": {"layer.2", "head"},
    "freeze=top freeze.layers=2": {"layer.1", "layer.2", "head"},
    r"freeze=pattern freeze.frozen=['encoder\.layer\.[01]\.']": EVERYTHING - {"layer.0", "layer.1"},
}


class Watch(Callback):
    """Keeps the module, and which modules were in training mode at each step."""

    def __init__(self) -> None:
        self.modes: list[dict[str, bool]] = []
        self.rows: list[list[int]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.module: TextClassifier = pl_module
        self.modes.append({name: module.training for name, module in pl_module.named_modules()})
        self.rows.append(batch["rows"].tolist())


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watches the next run."""
    watching = Watch()
    real = parts.build_trainer

    def build(*arguments: Any) -> Any:
        trainer = real(*arguments)
        trainer.callbacks.insert(0, watching)
        return trainer

    monkeypatch.setattr(parts, "build_trainer", build)
    return watching


@pytest.mark.parametrize("strategy", TRAINS)
def test_frozen_tensors_stay_bit_identical_and_every_trainable_one_moves(
    strategy: str, run_tiny: Run, watch: Watch, tiny_bert: Path
) -> None:
    _, result = run_tiny(*strategy.split(), "model=bert_linear", "optimizer.lr=1e-2")
    before = dict(load_encoder(source_of(tiny_bert)).named_parameters())
    named = {stage.name: set(stage.parameters) for stage in stages_of(before)}
    trained = set().union(*(named.get(stage, set()) for stage in TRAINS[strategy]))
    after = dict(watch.module.encoder.named_parameters())
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == (name not in trained), name
    assert set(result["phases"][0]["trainable"]) == TRAINS[strategy]
    optimized = {id(p) for group in watch.module.trainer.optimizers[0].param_groups for p in group["params"]}
    head = list(watch.module.head.parameters())
    assert optimized == {id(after[n]) for n in trained} | {id(p) for p in head}
    assert result["parameters"]["trainable"] == sum(before[n].numel() for n in trained) + sum(p.numel() for p in head)


def test_frozen_modules_are_in_eval_mode_and_trainable_ones_in_train_mode(run_tiny: Run, watch: Watch) -> None:
    run_tiny("freeze=bottom", "freeze.layers=2")
    assert len(watch.modes) == 4
    for modes in watch.modes:
        frozen = [on for n, on in modes.items() if re.match(r"encoder\.(embeddings|encoder\.layer\.[01])", n)]
        trainable = [on for n, on in modes.items() if re.match(r"(head|encoder\.encoder\.layer\.2)", n)]
        assert set(frozen) == {False}
        assert set(trainable) == {True}


def test_a_partly_frozen_layer_keeps_its_frozen_modules_in_eval_mode(run_tiny: Run, watch: Watch) -> None:
    run_tiny("freeze=pattern", r"freeze.frozen=['attention\.']")
    modes = watch.modes[-1]
    assert not modes["encoder.encoder.layer.1.attention.self.dropout"]
    assert modes["encoder.encoder.layer.1.output.dropout"]


def test_a_run_leaves_exactly_its_files(run_tiny: Run) -> None:
    folder, result = run_tiny("freeze=all")
    files = {str(f.relative_to(folder.path)) for f in folder.path.rglob("*") if f.is_file()}
    events = {f for f in files if f.startswith("tensorboard/")}
    assert files - events == {
        "config.yaml",
        "status.json",
        "result.json",
        "train.log",
        "predictions/validation.parquet",
        "predictions/test.parquet",
        "checkpoints/best.ckpt",
        "checkpoints/best.ckpt.sha256",
        "checkpoints/last.ckpt",
        "checkpoints/last.ckpt.sha256",
        "report/classification_report.txt",
        "report/curves.png",
        "report/confusion_matrix.png",
    }
    assert events
    assert json.loads((folder.path / "result.json").read_text()).keys() == result.keys()
    assert json.loads((folder.path / "status.json").read_text())["state"] == "finished"
    assert result["seconds"].keys() == {"total", "data", "import", "build", "encode", "fit", "test"}


def test_results_are_of_the_best_epoch_and_agree_with_the_predictions(run_tiny: Run) -> None:
    # At a rate that stays high the lowest loss is not the last.
    options = ["scheduler=constant", "optimizer.lr=1e-2", "data.batch_size=16", "callbacks=no_early_stopping"]
    folder, result = run_tiny("freeze=none", *options, "trainer.max_epochs=5")
    losses = [epoch["validation/loss"] for epoch in result["history"]]
    assert len(losses) == 5
    assert result["best"]["epoch"] == 1 + losses.index(min(losses)) < 5
    assert math.isclose(result["metrics"]["validation"]["loss"], min(losses), rel_tol=1e-5)
    for split in ("validation", "test"):
        rows = pyarrow.parquet.read_table(folder.path / "predictions" / f"{split}.parquet").to_pylist()
        assert len(rows) == result["texts"][split] == 60
        right = sum(row["true"] == row["predicted"] for row in rows)
        assert math.isclose(result["metrics"][split]["accuracy"], right / len(rows), rel_tol=1e-6)
        assert all(math.isclose(sum(row["probabilities"]), 1, rel_tol=1e-5) for row in rows)
    report = (folder.path / "report" / "classification_report.txt").read_text()
    assert [w for w in ("negative", "neutral", "positive", "macro avg", "weighted avg") if w not in report] == []


def test_tensorboard_has_curves_figures_and_hyper_parameters(run_tiny: Run) -> None:
    folder, result = run_tiny("freeze=all")
    events = EventAccumulator(str(folder.path / "tensorboard" / "all_seed_42"))
    events.Reload()
    tags = events.Tags()
    losses = [e.value for e in events.Scalars("validation/loss")]
    assert losses == pytest.approx([epoch["validation/loss"] for epoch in result["history"]])
    assert {"train/loss", "train/accuracy", "validation/f1_macro", "test/accuracy", "cost/seconds"} <= set(
        tags["scalars"]
    )
    assert events.Scalars("test/accuracy")[-1].value == pytest.approx(result["metrics"]["test"]["accuracy"])
    assert {"test/worst_errors/text_summary", "custom_scalars__config__"} <= set(tags["tensors"])
    assert {f"test/{label}" for label in result["labels"]} <= set(tags["tensors"])
    assert {"curves", "confusion_matrix"} <= set(tags["images"])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser")
def test_a_browser_shows_the_runs_in_tensorboard(run_tiny: Run) -> None:
    for strategy in ("all", "none"):
        folder, _ = run_tiny(f"freeze={strategy}", name=f"of-{strategy}")
    board = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder.path.parent), "--port", "0"]
    with subprocess.Popen(board, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = next(found for line in server.stderr if (found := re.search(r"http://\S+", line)))[0]
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
            page = subprocess.run(
                ["chromium", *options, f"{address}#timeseries"], capture_output=True, text=True, check=True, timeout=120
            ).stdout
        finally:
            server.terminate()
    groups = (">train<", ">validation<", ">test<", ">cost<", ">freezing<")
    for text in ("of-all/tensorboard/all_seed_42", "of-none/tensorboard/none_seed_42", "confusion_matrix", *groups):
        assert text in page


def test_checkpoints_hold_only_what_trained_and_no_objects(run_tiny: Run) -> None:
    folder, _ = run_tiny("freeze=all")
    for file in (folder.best_checkpoint, folder.last_checkpoint):
        state = torch.load(file, weights_only=True)["state_dict"]
        assert {name.partition(".")[0] for name in state} == {"head"}


def test_equal_seeds_give_equal_runs(run_tiny: Run) -> None:
    first, second, other = (run_tiny("freeze=none", f"seed={s}", name=n)[1] for s, n in ((1, "a"), (1, "b"), (2, "c")))
    assert first["metrics"] == second["metrics"] != other["metrics"]
    assert first["config_hash"] == second["config_hash"] != other["config_hash"]


@pytest.mark.rare
def test_the_outputs_of_an_epoch_are_kept_in_few_tensors(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, keep = [], freezable.FreezableModule._keep

    def count(module: freezable.FreezableModule, output: freezable.StepOutput) -> None:
        keep(module, output)
        counts.append(len(module._outputs))

    monkeypatch.setattr(freezable.FreezableModule, "_keep", count)
    usual = run_tiny("freeze=none", "data.batch_size=8", name="usual")[1]
    assert max(counts) == 8
    counts.clear()
    monkeypatch.setattr(freezable, "MAX_OUTPUTS", 3)
    few = run_tiny("freeze=none", "data.batch_size=8", name="few")[1]
    assert max(counts) == 2
    assert few["metrics"] == usual["metrics"]


def test_a_folder_with_a_run_is_not_overwritten_and_a_resumed_run_keeps_its_config(
    run_tiny: Run, tmp_path: Path
) -> None:
    folder, _ = run_tiny("freeze=all")
    with pytest.raises(UserError, match="already has a run"):
        run_tiny("freeze=none")
    # Before anything else is looked at, and with what would have to end first.
    with folder.locked(), pytest.raises(UserError, match="being trained by another process"):
        run_tiny("data.path=missing.csv")
    saved = (folder.path / "config.yaml").read_text()
    (folder.path / "config.yaml").write_text(saved.replace("src.freezing.Everything", "os.system"))
    with pytest.raises(UserError, match=r"must only build what the files in conf/ build; it names os\.system"):
        training.train(composed(f"run={folder.path}", "resume=true"), folder)
    with pytest.raises(UserError, match="it does not exist"):
        training.train(composed("resume=true"), RunFolder(tmp_path / "nothing"))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("weights", ["null", "balanced"])
def test_each_task_trains_with_and_without_class_weights(task: str, weights: str, run_tiny: Run) -> None:
    data = {
        "binary": ["data=table", "data.path=src/data/examples/polarity.csv"],
        "multiclass": ["data=reviews"],
        "multilabel": ["data=reviews_aspects"],
    }[task]
    _, result = run_tiny(*data, f"data.class_weights={weights}", "freeze=all", "trainer.max_epochs=1")
    assert result["objective"] == task
    assert ("thresholds" in result) == (task == "multilabel")
    assert all(math.isfinite(v) for v in result["metrics"]["test"].values())


@pytest.mark.parametrize("task", ["data=table data.path=src/data/examples/polarity.csv", "data=reviews_aspects"])
def test_the_f1_of_a_label_can_decide(task: str, run_tiny: Run) -> None:
    label = "positive" if "polarity" in task else "service"
    options = ["model.loss=focal", "model.label_smoothing=0.1", "freeze=all", f"monitor.metric=validation/f1/{label}"]
    folder, result = run_tiny(*task.split(), *options)
    epochs = [epoch[f"validation/f1/{label}"] for epoch in result["history"]]
    assert result["best"]["epoch"] == epochs.index(max(epochs)) + 1
    assert folder.monitored() == result["metrics"]["validation"][f"f1/{label}"]
    if "polarity" in task:
        table = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet")
        told = table.column("true").to_pylist()
        assert result["majority"]["accuracy"] == pytest.approx(told.count(result["majority"]["label"]) / len(told))
        assert f"has a test accuracy of {result['majority']['accuracy']:.3f}" in (folder.path / "train.log").read_text()
    else:
        assert "majority" not in result
    measured = result["per_label"][label]
    assert result["metrics"]["test"][f"f1/{label}"] == pytest.approx(measured["f1"])
    labels = result["per_label"].values()
    weighted = sum(one["f1"] * one["support"] for one in labels) / sum(one["support"] for one in labels)
    assert result["metrics"]["test"]["f1_weighted"] == pytest.approx(weighted)


def test_validation_measures_the_cross_entropy_whatever_training_minimises(run_tiny: Run) -> None:
    frozen = ["freeze=all", "trainer.max_epochs=1", "optimizer.head_lr=1e-12"]
    losses = [
        run_tiny(*frozen, *more, name=str(number))[1]["history"][0]["validation/loss"]
        for number, more in enumerate([[], ["model.loss=focal"], ["model.label_smoothing=0.5"]])
    ]
    assert losses[1:] == pytest.approx(losses[:1] * 2, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["model.focal_gamma=1"], "focal_gamma is of the focal loss"),
        (["data.sampling=balanced", "data.class_weights=balanced"], "together they count twice"),
        (["data.class_weights={positive: 0}"], "greater than 0"),
        (["data.class_weights=balancd"], "must be balanced, or weights by label such as {rare: 5}; got balancd"),
        (["model.loss=hinge"], "cross_entropy"),
        (["monitor.metric=validation/f1/positiv"], "validation/f1/positive"),
    ],
)
def test_losses_and_weights_that_cannot_be(
    given: list[str], said: str, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [
        "data=table",
        "data.path=src/data/examples/polarity.csv",
        "data.max_length=32",
        f"backbone.name={tiny_bert}",
    ]
    assert said in refusal("train", [*data, *given], capsys)


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (("freeze=all", "model=bert_linear"), 5e-3),
        (("freeze=mix", "model=bert_linear"), 5e-3),
        (("freeze=all", "model=bert_linear", "optimizer.head_lr=1e-4"), 1e-4),
        (("freeze=all", "model=bert_linear", "optimizer.head_lr=null"), 5e-5),
        (("freeze=all", "model=bert_bilstm"), 1e-3),
        (("freeze=bottom", "freeze.layers=1", "model=bert_linear"), 1e-3),
        (("freeze=lp_ft", "freeze.epochs=1", "model=bert_linear"), 1e-3),
    ],
)
def test_a_lone_linear_head_has_a_higher_rate(given: tuple[str, ...], rate: float, run_tiny: Run, watch: Watch) -> None:
    run_tiny(*given, "scheduler=constant", "data.limit=30")
    assert {g["lr"] for g in watch.module.trainer.optimizers[0].param_groups if g["name"].startswith("head")} == {rate}


def test_accumulation_counts_steps_of_the_optimizer(run_tiny: Run, watch: Watch) -> None:
    run_tiny("freeze=all", "data.batch_size=8", "trainer.accumulate_grad_batches=4")
    assert watch.module.trainer.global_step == 4  # 8 batches an epoch, 2 epochs
    assert watch.module.trainer.lr_scheduler_configs[0].scheduler.last_epoch == 4


@BF16
def test_bfloat16_trains(run_tiny: Run) -> None:
    _, result = run_tiny("freeze=none", "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    assert math.isfinite(result["metrics"]["test"]["loss"])


@pytest.mark.parametrize("emulated", [True, False])
def test_bfloat16_that_is_only_emulated_is_named_and_not_predicted_in(
    emulated: bool, run_tiny: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inference, "emulates_bf16", lambda device: emulated)
    folder, _ = run_tiny("model=bert_linear", "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    assert ("bf16-mixed needs a processor with instructions for bfloat16" in caplog.text) is emulated
    assert Predictor.load(folder.path).dtype == (torch.float32 if emulated else torch.bfloat16)


def test_an_lstm_needs_real_bfloat16(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "emulates_bf16", lambda device: True)
    with pytest.raises(UserError, match=r"cannot compute an LSTM without\.\nChoose trainer\.precision=32-true\."):
        run_tiny("model=bert_bilstm", "trainer.precision=bf16")


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [*(("adamw", name) for name in ("linear", "cosine", "constant")), *(("adam", "onecycle"), ("sgd", "plateau"))],
)
def test_every_optimizer_and_every_schedule_train(optimizer: str, scheduler: str, run_tiny: Run, watch: Watch) -> None:
    run_tiny(
        f"optimizer={optimizer}", f"scheduler={scheduler}", "freeze=top", "freeze.layers=1", "trainer.max_epochs=1"
    )
    groups = watch.module.trainer.optimizers[0].param_groups
    assert [g["name"] for g in groups] == ["layer.2", "layer.2/no_decay", "head", "head/no_decay"]
    assert {g["weight_decay"] for g in groups if g["name"].endswith("/no_decay")} == {0.0}


def test_nothing_to_train_is_refused_before_a_folder_is_made(run_tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must match parameters"):
        run_tiny("freeze=pattern", "freeze.frozen=['nothing']")
    with pytest.raises(UserError, match=r"data\.max_length must be at most 66"):
        run_tiny("data.max_length=67")
    assert not (tmp_path / "run").exists()


def test_the_best_epoch_may_be_that_of_a_training_score(
    run_tiny: Callable[..., tuple[RunFolder, dict[str, Any]]],
) -> None:
    options = ("monitor.metric=train/accuracy", "trainer.check_val_every_n_epoch=9", "optimizer.lr=1e-2")
    _, result = run_tiny(
        *options, "callbacks=no_early_stopping", "freeze=all", "model=bert_linear", "trainer.max_epochs=3"
    )
    found = [epoch["train/accuracy"] for epoch in result["history"]]
    assert result["best"]["epoch"] == found.index(max(found)) + 1 < 3
