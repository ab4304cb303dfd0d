"""Which way a metric gets better: what keeps the best epoch, stops, lowers rates, ends phases and searches."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from src import train as training
from src.config.folder import CONF
from src.config.monitor import at_most, best_mode
from src.data.labels import MASKED_SCORES, SCORES
from src.errors import UserError
from src.grouping import groups
from src.grouping.runs import read_runs
from src.models.checks import read_training
from src.prediction.predictor import Predictor
from src.runs.find import find_run
from src.runs.folder import RunFolder
from tests.conftest import composed
from tests.training.test_training import Watch, watch  # noqa: F401

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
LOWER = {"loss", "perplexity", "hamming", "ece"}
# The keys of the trainer before it had all of Lightning's.
OLD = [
    *("_target_", "accelerator", "devices", "num_nodes", "strategy", "precision", "max_epochs", "gradient_clip_val"),
    *("accumulate_grad_batches", "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps"),
    *("deterministic", "compile", "gradient_checkpointing"),
]
# An accuracy that goes up and down while the loss falls.
LIVELY = ["model=bert_linear", "freeze=none", "optimizer.lr=1e-2", "data.batch_size=16", "trainer.max_epochs=6"]


@pytest.mark.parametrize(
    ("value", "metric", "shown"),
    [
        (0.0101, "accuracy", "0.011"),
        (0.1 + 0.2, "accuracy", "0.300"),  # 0.30000000000000004
        (0.0, "mae", "0"),
        (12.341, "mae", "12.35"),
        (1_234.1, "rmse", "1,235"),
        (0.012341, "rmse", "0.01235"),
    ],
)
def test_bounds_are_rounded_up(value: float, metric: str, shown: str) -> None:
    assert at_most(value, metric) == shown


@pytest.mark.parametrize("score", ["loss", *SCORES, *MASKED_SCORES, "subset_accuracy", "hamming"])
def test_less_is_better_of_losses_and_more_of_scores(score: str) -> None:
    for split in ("train", "validation"):
        assert best_mode(f"{split}/{score}") == ("min" if score in LOWER else "max")


def test_the_best_epoch_by_accuracy_is_the_highest(run_tiny: Run) -> None:
    _, result = run_tiny(*LIVELY, "monitor.metric=validation/accuracy", "callbacks=no_early_stopping")
    found = [epoch["validation/accuracy"] for epoch in result["history"]]
    assert min(found) < max(found)
    assert found.index(max(found)) + 1 == result["best"]["epoch"]
    assert math.isclose(result["metrics"]["validation"]["accuracy"], max(found), rel_tol=1e-6)


def test_early_stopping_by_accuracy_waits_for_as_long_as_it_rises(run_tiny: Run) -> None:
    _, result = run_tiny(*LIVELY, "monitor.metric=validation/accuracy", "callbacks.early_stopping.patience=1")
    found = [epoch["validation/accuracy"] for epoch in result["history"]]
    rises = [later > max(found[:place]) for place, later in enumerate(found) if place]
    assert all(rises[:-1])
    assert len(found) == 6 or not rises[-1]


def test_each_callback_goes_by_its_own_metric(run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    run_tiny("model=bert_linear", "callbacks.early_stopping.monitor=validation/accuracy", "trainer.max_epochs=1")
    callbacks = {type(callback).__name__: callback for callback in watch.module.trainer.callbacks}
    assert callbacks["LastPhaseStopping"].mode == "max"
    assert (callbacks["Saving"].monitor, callbacks["Saving"].sign) == ("validation/loss", -1)


@pytest.mark.parametrize(("metric", "mode"), [("validation/accuracy", "max"), ("validation/loss", "min")])
def test_a_plateau_schedule_goes_by_its_metric(metric: str, mode: str, run_tiny: Run, watch: Watch) -> None:  # noqa: F811
    run_tiny("model=bert_linear", "scheduler=plateau", f"monitor.metric={metric}", "trainer.max_epochs=1")
    assert watch.module.trainer.lr_scheduler_configs[0].scheduler.mode == mode


@pytest.mark.parametrize(
    ("metric", "mode"), [("validation/accuracy", "min"), ("validation/loss", "max"), ("train/ece", "max")]
)
def test_a_mode_against_the_metric_is_refused(metric: str, mode: str) -> None:
    right = {"min": "max", "max": "min"}[mode]
    with pytest.raises(UserError, match=rf"monitor\.mode must be auto or {right} for {metric}, .*; got {mode}"):
        read_training(composed(f"monitor.metric={metric}", f"monitor.mode={mode}"))
    read_training(composed(f"monitor.metric={metric}", f"monitor.mode={right}"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "callbacks.early_stopping.monitor=val_loss",
            r"callbacks\.early_stopping\.monitor must be validation/ and a",
        ),
        (
            "callbacks.checkpoint.monitor=validation/hamming",
            r"callbacks\.checkpoint\.monitor must be validation/ and a",
        ),
        ("callbacks.early_stopping.mode=max", r"callbacks\.early_stopping cannot be built: mode must be auto or min"),
    ],
)
def test_what_a_callback_cannot_go_by_is_refused_before_anything_starts(
    override: str, message: str, run_tiny: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run_tiny("model=bert_linear", override)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("metric", "direction"), [("validation/accuracy", "maximize"), ("validation/loss", "minimize")]
)
def test_a_search_looks_for_the_best_value(metric: str, direction: str) -> None:
    pytest.importorskip("optuna")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration(
            "train", ["sweep=search", f"monitor.metric={metric}"], run_mode=RunMode.MULTIRUN
        )
        assert config.hydra.sweeper.direction == direction


def _rewrite(folder: RunFolder, metric: str, mode: str) -> None:
    """Makes a run's config one of before modes followed from metrics."""
    file = folder.path / "config.yaml"
    content = yaml.safe_load(file.read_text())
    content["monitor"] = {"metric": metric, "mode": mode}
    content["trainer"] = {key: content["trainer"][key] for key in OLD}
    file.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("mode", ["min", "max", "auto"])
def test_configs_of_older_runs_are_read_whatever_their_mode(mode: str, run: RunFolder) -> None:
    _rewrite(run, "validation/accuracy", mode)
    assert len(Predictor.load(run.path)(["good"])) == 1
    (found,) = read_runs(run.path.parent)
    assert found.result is not None
    assert find_run("best", str(run.path.parent)).path == run.path


def test_the_best_of_older_runs_is_the_one_with_the_highest_accuracy(run: RunFolder) -> None:
    other = RunFolder(Path(shutil.copytree(run.path, run.path.with_name("other"))))
    for folder, accuracy in ((run, 0.25), (other, 0.75)):
        _rewrite(folder, "validation/accuracy", "min")
        result = folder.read_result()
        result["metrics"]["validation"]["accuracy"] = accuracy
        folder.write_json("result.json", result)
    assert find_run("best", str(run.path.parent)).path == other.path
    _rewrite(other, "validation/loss", "min")
    with pytest.raises(UserError, match=r"monitor the same metric; those in .* monitor validation/accuracy, val"):
        find_run("best", str(run.path.parent))


def test_older_runs_are_compared_with_new_ones_as_equals(run: RunFolder) -> None:
    other = RunFolder(Path(shutil.copytree(run.path, run.path.with_name("other"))))
    content = yaml.safe_load((other.path / "config.yaml").read_text())
    (other.path / "config.yaml").write_text(yaml.safe_dump({**content, "seed": 7}))
    _rewrite(other, "validation/loss", "min")
    (found,) = groups.group(read_runs(run.path.parent))
    assert [run.seed for run in found.finished] == [7, 42]


def test_a_run_that_watched_its_training_loss_has_a_value_to_search_by(run_tiny: Run) -> None:
    folder, result = run_tiny("model=bert_linear", "monitor.metric=train/loss", "callbacks=no_early_stopping")
    best = next(epoch for epoch in result["history"] if epoch["epoch"] == result["best"]["epoch"])
    assert folder.monitored() == best["train/loss"] == min(epoch["train/loss"] for epoch in result["history"])


def test_a_phase_by_accuracy_ends_when_it_stops_rising(run_tiny: Run) -> None:
    stuck = ["freeze=gradual", "freeze.until=plateau", "freeze.down_to=layer.2", "freeze.patience=1"]
    _, result = run_tiny(*LIVELY, *stuck, "monitor.metric=validation/accuracy", "callbacks=no_early_stopping")
    found = [epoch["validation/accuracy"] for epoch in result["history"]]
    epochs = result["phases"][0]["epochs"]
    rises = [found[place] > max(found[:place]) for place in range(1, epochs)]
    assert all(rises[:-1])
    assert epochs == 6 or not rises[-1]


def test_a_resumed_run_with_a_mode_against_its_metric_says_so(run: RunFolder) -> None:
    _rewrite(run, "validation/accuracy", "min")
    run.write_status("interrupted")
    with pytest.raises(UserError, match=r"monitor\.mode must be auto or max"):
        training.train(composed(f"run={run.path}", "resume=true"), run)
