"""The threads of a training: as many as the user says, or its share of the cores that the process may use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch

from src import train as training
from src.datamodules.ragged import Batch
from src.errors import UserError
from src.grouping.groups import group
from src.grouping.runs import read_runs
from src.modules.classifier import TextClassifier
from src.runs.folder import RunFolder
from src.training.threads import default_threads, local_processes
from tests.conftest import composed, longer

LINEAR = ("model=bert_linear", "freeze=all")
Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores, where the user has set nothing."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: 8)


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("sharing", "environment", "threads"),
    [
        (1, {}, 8),
        (3, {}, 2),
        (9, {}, 1),
        (2, {"SLURM_CPUS_PER_TASK": "6"}, 3),
        (2, {"SLURM_CPUS_PER_TASK": "16"}, 4),
        (2, {"OMP_NUM_THREADS": "7"}, 7),
        (2, {"OMP_NUM_THREADS": "5,2"}, 5),
        (2, {"OMP_NUM_THREADS": "many"}, 4),
        (2, {"OMP_NUM_THREADS": "0"}, 4),
    ],
)
def test_a_process_has_its_share_of_the_cores(
    sharing: int, environment: dict[str, str], threads: int, eight_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_threads(sharing) == threads


@pytest.mark.parametrize(("devices", "processes"), [(1, 1), (2, 2), ("3", 3), ("auto", 1), (-1, 1), ([0, 1], 1)])
def test_the_processes_of_a_run_share_its_threads(devices: object, processes: int) -> None:
    assert local_processes(devices) == processes


@pytest.mark.usefixtures("eight_cores", "threads_as_before")
def test_a_run_uses_and_names_the_threads_that_it_is_given(run_tiny: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _, chosen = run_tiny(*LINEAR, "trainer.threads=3", name="chosen")
        _, share = run_tiny(*LINEAR, name="share")
    assert (chosen["environment"]["threads"], share["environment"]["threads"]) == (3, 8)
    said = [text for text in caplog.messages if "thread" in text]
    small = "Steps on stored vectors are small: computing them with 1 thread"
    assert said == ["Computing with 3 threads", "Computing with 8 threads", small]
    assert chosen["config_hash"] == share["config_hash"]


@pytest.mark.usefixtures("eight_cores", "threads_as_before")
@pytest.mark.parametrize(
    ("options", "threads"),
    [
        (LINEAR, {1}),
        ((*LINEAR, "activations=off"), {8}),
        (("model=bert_bilstm", "freeze=all"), {8}),
        (("model=bert_linear", "freeze=lp_ft", "freeze.epochs=1"), {1, 8}),
    ],
)
def test_steps_on_stored_vectors_take_one_thread(
    options: Sequence[str], threads: set[int], run_tiny: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, step = [], TextClassifier.step

    def watched(module: TextClassifier, batch: Batch) -> Any:
        if torch.is_grad_enabled():
            seen.append(torch.get_num_threads())
        return step(module, batch)

    monkeypatch.setattr(TextClassifier, "step", watched)
    run_tiny(*options)
    assert {*seen} == threads
    assert torch.get_num_threads() == 8


def test_a_run_from_before_is_resumed_with_other_threads(run_tiny: Run) -> None:
    folder, _ = run_tiny(*LINEAR, "trainer.max_epochs=1")
    cfg = longer(folder, "trainer.max_epochs=2")
    saved = folder.path / "config.yaml"
    lines = saved.read_text().splitlines(keepends=True)
    before = [line for line in lines if not line.startswith("  threads:")]
    assert len(before) == len(lines) - 1
    saved.write_text("".join(before))
    assert len(training.train(cfg, folder)["history"]) == 2


def test_runs_with_other_threads_are_one_group(tmp_path: Path) -> None:
    for seed, threads in enumerate(("null", "2")):
        RunFolder(tmp_path / threads).claim(composed(f"seed={seed}", f"trainer.threads={threads}"))
        RunFolder(tmp_path / threads).write_status("failed", error="RuntimeError: out of luck")
    (found,) = group(read_runs(tmp_path))
    assert len(found.runs) == 2


@pytest.mark.parametrize("threads", ["0", "1.5", "all"])
def test_a_number_of_threads_is_refused_before_pytorch_is_asked(threads: str, run_tiny: Run) -> None:
    with pytest.raises(UserError, match=r"trainer\.threads"):
        run_tiny(*LINEAR, f"trainer.threads={threads}", "data.path=nowhere.csv")
