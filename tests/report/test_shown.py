"""What only shows a result costs no run that result."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from matplotlib.figure import Figure

from src.data.split import Split
from src.errors import UserError
from src.predict import Predictor
from src.report import classification, dashboard, plots
from src.report import run as reporting
from src.report.predictions import write_predictions
from src.runs.folder import RunFolder
from src.sweeps import jobs

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
LINEAR = ("model=bert_linear", "trainer.max_epochs=1")


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def is_whole(folder: RunFolder) -> None:
    assert folder.state() == "finished"
    assert folder.read_result()["history"]
    assert pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet").num_rows
    assert Predictor.load(folder.path).probabilities(["good"]).shape == (1, 3)


def test_a_picture_that_takes_too_much_memory_is_a_warning(
    run_tiny: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Figure, "savefig", raising(MemoryError("10.9 GB")))
    monkeypatch.setattr(dashboard, "show", raising(ValueError("no board")))
    folder, _ = run_tiny(*LINEAR)
    is_whole(folder)
    for line in (
        "report/curves.png could not be written: MemoryError: 10.9 GB",
        "report/confusion_matrix.png could not be written: MemoryError: 10.9 GB",
        "loggers could not be written: ValueError: no board",
    ):
        assert line in caplog.text
        assert line in folder.log.read_text()
    assert {file.name for file in (folder.path / "report").iterdir()} == {"classification_report.txt"}
    assert folder.is_reported


@pytest.mark.parametrize("targets", [5, 1, 4, 8])
def test_numbers_have_a_panel_for_each_target_and_no_empty_one(targets: int) -> None:
    numbers = np.arange(3.0 * targets).reshape(3, targets)
    figure = plots.scatter(numbers, numbers, [f"target {i}" for i in range(targets)], "Numbers")
    assert [axes.get_title() for axes in figure.axes if axes.axison] == [f"target {i}" for i in range(targets)]


def test_predictions_are_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = np.arange(2)
    folder, split = RunFolder(tmp_path), Split(two, ["good", "bad"], two, two)
    write_predictions(folder, "test", split, {"predicted": [0, 1]})

    def half(table: pyarrow.Table, where: Any) -> None:
        with pyarrow.parquet.ParquetWriter(where, table.schema):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet, "write_table", half)
    with pytest.raises(OSError, match="No space left"):
        write_predictions(folder, "test", split, {"predicted": [1, 1]})
    (file,) = (tmp_path / "predictions").iterdir()
    assert pyarrow.parquet.read_table(file)["predicted"].to_pylist() == [0, 1]


def test_a_report_that_cannot_be_made_is_a_warning(
    run_tiny: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(classification, "_worst", raising(RuntimeError("CUDA out of memory")))
    folder, _ = run_tiny(*LINEAR)
    is_whole(folder)
    assert "report could not be " in caplog.text
    assert "RuntimeError: CUDA out of memory" in caplog.text


def test_adapters_that_cannot_be_written_alone_are_a_warning(
    run_tiny: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporting, "save_adapters", raising(ConnectionError("no hub")))
    folder, _ = run_tiny(*LINEAR, "freeze=lora")
    is_whole(folder)
    assert "adapter could not be written: ConnectionError: no hub" in caplog.text


def test_the_result_is_there_before_anything_that_shows_it(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = reporting._write_report

    def watch(module: Any, texts: int, folder: RunFolder, *rest: Any) -> None:
        seen.append((folder.state(), folder.is_reported, sorted(folder.read_result())))
        real(module, texts, folder, *rest)

    monkeypatch.setattr(reporting, "_write_report", watch)
    folder, _ = run_tiny(*LINEAR)
    assert seen == [("finished", False, sorted(folder.read_result()))]
    assert folder.is_reported


@pytest.mark.parametrize(
    ("ended", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device", "curves.png"), UserError),
    ],
    ids=["Ctrl-C", "full disk"],
)
def test_a_run_that_ends_while_it_is_shown_can_be_gone_on_with(
    ended: BaseException, raised: type[BaseException], run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", raising(ended))
        with pytest.raises(raised):
            run_tiny(*LINEAR)
    folder, _ = run_tiny(*LINEAR, "resume=true")
    is_whole(folder)
    assert (folder.path / "report" / "curves.png").exists()
    assert folder.is_reported
    with pytest.raises(UserError, match="is finished"):
        run_tiny(*LINEAR, "resume=true")


def test_a_job_that_is_killed_while_it_is_shown_has_finished(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    given = json.loads((run.path / "status.json").read_text())
    cfg = run.saved_config()
    (run.path / "status.json").write_text("{}")

    def kill(*_: Any) -> tuple[int, str]:
        (run.path / "status.json").write_text(json.dumps({**given, "report": "unfinished"}))
        return -9, ""

    monkeypatch.setattr(jobs, "run_process", kill)
    parts = {"task": [], "config_sources": [], "dir": str(run.path.parent)}
    how = {"launcher": {"_target_": "processes"}, "sweeper": {}}
    task = SimpleNamespace(**dict.fromkeys(("overrides", "sweep", "runtime"), SimpleNamespace(**parts)), **how)
    monkeypatch.setattr(jobs.HydraConfig, "get", lambda: task)
    assert jobs.run_job(cfg, run) == run.read_result()["metrics"]["validation"]["loss"]
    assert run.state() == "finished"
