"""Memory that does not suffice: one message, and a run that can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.errors import is_out_of_memory
from src.models.networks import Network
from src.modules.classifier import TextClassifier
from src.runs.folder import RunFolder
from tests.conftest import refusal

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_that_does_not_fit_is_one_message_and_the_run_goes_on(
    checkpointing: bool,
    run_tiny: Run,
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, calls = TextClassifier.step, []

    def step(self: TextClassifier, batch: Any) -> Any:
        calls.append(len(batch["targets"]))
        if self.training and self.global_step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")
        return real(self, batch)

    monkeypatch.setattr(TextClassifier, "step", step)
    folder = tmp_path / "run"
    options = [f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "trainer=cpu", f"run={folder}"]
    options += ["model=bert_linear", "freeze=none", "trainer.max_epochs=2", "callbacks.progress=null"]
    options += [f"cache={tmp_path / 'cache'}", f"trainer.gradient_checkpointing={str(checkpointing).lower()}"]
    said = refusal("train", options, capsys)
    assert (
        "must fit into the memory of cpu; batches of 32 texts with up to 32 tokens do not: CUDA out of memory" in said
    )
    assert "data.batch_size=16 trainer.accumulate_grad_batches=2" in said
    assert ("resume=true trainer.gradient_checkpointing=true" in said) is not checkpointing
    assert RunFolder(folder).state() == "failed"
    monkeypatch.undo()
    _, result = run_tiny(f"run={folder}", "resume=true")
    assert len(result["history"]) == 2


def test_a_prediction_that_does_not_fit_is_one_message(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forward(self: Network, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    monkeypatch.setattr(Network, "forward", forward)
    said = refusal("predict", [f"run={finished.path}", "text=Good"], capsys)
    assert said.startswith("The command must fit into memory: CUDA out of memory. Tried to allocate 2.00 GiB. More.\n")
    assert "CUDA_VISIBLE_DEVICES= before the command" in said


def test_which_errors_are_about_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
