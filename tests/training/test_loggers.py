"""Loggers: several at once, services that are missing or fail, and what they are given."""

from __future__ import annotations

import csv
import importlib.util
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger

from src.runs.folder import RunFolder
from src.training import loggers

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
SMALL = ("model=bert_linear", "freeze=all", "trainer.max_epochs=1")


class Service(Logger):
    """A client of a service that answers until one of its methods is the broken one."""

    calls: list[tuple[str, Any]]

    def __init__(self, broken: str | None = None) -> None:
        super().__init__()
        self.broken = broken
        Service.calls = []

    def _answer(self, name: str, content: Any = None) -> None:
        if name == self.broken:
            raise ConnectionError("nobody answers")
        Service.calls.append((name, content))

    @property
    def name(self) -> str:
        return "service"

    @property
    def version(self) -> str:
        return "1"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._answer("log_metrics", metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._answer("log_hyperparams", params)

    def finalize(self, status: str) -> None:
        self._answer("finalize", status)


SERVICE = f"+logger.own._target_={__name__}.Service"


def test_several_loggers_have_the_same_curves(run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder, result = run_tiny(*SMALL, "logger=[tensorboard,csv]")
    with (folder.path / "csv" / "metrics.csv").open(newline="") as file:
        (loss,) = [row["validation/loss"] for row in csv.DictReader(file) if row["validation/loss"]]
    assert float(loss) == pytest.approx(result["history"][0]["validation/loss"])
    assert list((folder.path / "tensorboard").rglob("events.out.*"))
    assert "tensorboard --logdir" in caplog.text
    assert "csv/metrics.csv" in caplog.text


@pytest.mark.parametrize(
    ("strategy", "folder"),
    [
        ("bottom:4+reinit:1", "bottom_4+reinit_1_seed_1"),
        ("p" * 193, f"{'p' * 193}_seed_1"),
        ("p" * 500, f"{'p' * 100}_{'p' * 92}_seed_1"),
    ],
)
def test_tensorboard_calls_a_run_by_strategy_and_seed(strategy: str, folder: str, tmp_path: Path) -> None:
    node = {"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": str(tmp_path), "name": "tensorboard"}
    cfg = OmegaConf.create({"seed": 1, "resume": False, "logger": {"tensorboard": node}})
    [built] = loggers.build_loggers(cfg, _Named(strategy), RunFolder(tmp_path))
    assert len(folder) <= 200
    assert Path(built.log_dir).name == folder


def test_a_service_gets_config_curves_and_scores(run_tiny: Run) -> None:
    _, result = run_tiny(*SMALL, SERVICE)
    given = [content for name, content in Service.calls if name == "log_hyperparams"]
    assert [content["strategy"] for content in given] == ["all"]
    assert given[0]["data"]["limit"] == 60
    scores = {key: value for name, content in Service.calls if name == "log_metrics" for key, value in content.items()}
    assert scores["test/accuracy"] == result["metrics"]["test"]["accuracy"]
    assert "validation/loss" in scores
    assert ("finalize", "success") in Service.calls


def test_a_service_is_not_told_what_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    cfg = OmegaConf.create({"cache": "${oc.env:SECRET}", "run": "r", "save_dir": "${run}"})
    loggers.log_config([loggers.Tolerant(Service(), "own")], cfg, _Named("all"))
    assert Service.calls == [
        ("log_hyperparams", {"strategy": "all", "cache": "$(oc.env:SECRET)", "run": "r", "save_dir": "r"})
    ]


def test_a_server_of_mlflow_keeps_its_own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    built: list[dict[str, Any]] = []
    monkeypatch.setattr(loggers, "PACKAGES", {})
    monkeypatch.setattr(loggers, "instantiate", lambda node, key, kind, **given: built.append(given) or Service())
    for uri in ("http://server", None):
        cfg = OmegaConf.create(
            {"seed": 1, "resume": False, "logger": {"mlflow": {"_target_": "x.MLFlowLogger", "tracking_uri": uri}}}
        )
        loggers.build_loggers(cfg, _Named("all"), RunFolder(Path("r")))
        assert (tmp_path / "outputs").exists() == (uri is None)
    left_open = ["run_name", "tags"]
    assert [sorted(given) for given in built] == [left_open, ["artifact_location", *left_open, "tracking_uri"]]


@pytest.mark.filterwarnings("ignore:You called `self.log")  # Lightning names that there is no logger
def test_mlflow_without_a_place_for_its_database_is_left_out(
    run_tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(loggers, "PACKAGES", {})
    (tmp_path / "file").touch()
    monkeypatch.setattr(loggers, "OUTPUTS", tmp_path / "file" / "outputs")
    folder, _ = run_tiny(*SMALL, "logger=mlflow")
    assert folder.state() == "finished"
    assert f"logger=mlflow is left out: {loggers.OUTPUTS}: Not a directory" in caplog.text


@pytest.mark.parametrize(
    ("uri", "look"),
    [
        ("http://host:5000", "http://host:5000"),
        ("sqlite:///outputs/mlflow.db", "mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db"),
    ],
)
def test_what_mlflow_has_is_looked_at_on_its_server_or_with_its_command(uri: str, look: str) -> None:
    inner = MLFlowLogger.__new__(MLFlowLogger)  # its package may not be installed
    inner._tracking_uri = uri
    assert loggers.where([loggers.Tolerant(inner, "mlflow")], RunFolder(Path("r"))) == [look]


@pytest.mark.parametrize("broken", ["log_hyperparams", "log_metrics", "finalize"])
def test_a_service_that_fails_is_left_alone(broken: str, run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    folder, _ = run_tiny(*SMALL, SERVICE, f"+logger.own.broken={broken}")
    assert folder.state() == "finished"
    said = [record.getMessage() for record in caplog.records if "logger=own" in record.getMessage()]
    assert said == ["logger=own has failed and logs no more: ConnectionError: nobody answers"]


def test_a_logger_without_its_package_is_left_out(
    run_tiny: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loggers, "PACKAGES", {"WandbLogger": "no_such_package"})
    folder, _ = run_tiny(*SMALL, "logger=[csv,wandb]")
    assert "logger=wandb is left out: its package is not installed. pip install no_such_package" in caplog.text
    assert (folder.path / "csv" / "metrics.csv").exists()


def test_a_single_logger_of_an_earlier_version_still_logs(run_tiny: Run, tmp_path: Path) -> None:
    first, _ = run_tiny(*SMALL, "logger=csv")
    saved = yaml.safe_load((first.path / "config.yaml").read_text())
    saved["logger"] = saved["logger"]["csv"]
    (first.path / "config.yaml").write_text(yaml.safe_dump(saved))
    cfg = RunFolder(first.path).saved_config()
    assert list(cfg.logger) == ["csv"]
    assert isinstance(loggers.build_loggers(cfg, _Named("all"), first)[0], CSVLogger)


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.filterwarnings("ignore")  # within their packages
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs wandb")
def test_weights_and_biases_offline(run_tiny: Run) -> None:
    folder, _ = run_tiny(*SMALL, "logger=wandb", "logger.wandb.offline=true")
    (kept,) = (folder.path / "wandb").glob("offline-run-*")
    assert list(kept.glob("*.wandb"))
    assert loggers._wandb_id(folder.path) == kept.name.rpartition("-")[2]


@pytest.mark.filterwarnings("ignore")  # within their packages
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow")
def test_mlflow_in_a_file(run_tiny: Run, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    _, result = run_tiny(
        *SMALL, "logger=mlflow", f"logger.mlflow.tracking_uri={uri}", f"+logger.mlflow.artifact_location={tmp_path}"
    )
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        kept = dict(database.execute("select key, value from latest_metrics").fetchall())
        chosen = dict(database.execute("select key, value from params").fetchall())
    assert kept["test/accuracy"] == result["metrics"]["test"]["accuracy"]
    assert chosen["strategy"] == "all"
    assert {file.name for file in tmp_path.rglob("artifacts/**/*.*")} >= {"result.json", "curves.png"}
