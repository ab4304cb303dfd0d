"""Which precision a device is given, and how often a training waits for it."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.accelerators import CUDAAccelerator
from torch.utils._python_dispatch import TorchDispatchMode

from src.callbacks.random_states import RandomStates
from src.models.checks import read_config
from src.runs.folder import RunFolder
from src.training.devices import with_precision
from tests.conftest import composed

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
# Operations whose result the host reads: on a GPU it waits for all steps so far.
WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "is_nonzero")


@pytest.mark.parametrize(
    ("bf16", "capability", "best"),
    [(True, (9, 0), "bf16-mixed"), (False, (7, 5), "16-mixed"), (False, (6, 1), "32-true")],
)
def test_a_gpu_computes_in_the_fastest_precision_that_it_has(
    bf16: bool, capability: tuple[int, int], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    for given, wanted in (
        (["trainer=gpu"], best),
        (["trainer=gpu", "trainer.precision=32"], "32-true"),
        (["trainer=auto", "trainer.precision=auto"], best),
        (["trainer=auto"], "32-true"),
        (["trainer=cpu", "trainer.precision=auto"], "32-true"),
    ):
        assert with_precision(read_config(composed(*given))[0]).trainer.precision == wanted


def test_a_result_says_in_which_precision_it_was_computed(run_tiny: Run) -> None:
    _, result = run_tiny("trainer.precision=auto", "data.limit=60", "trainer.max_epochs=1")
    assert result["environment"]["precision"] == "32-true"
    assert result["peak_gpu_memory_bytes"] is None


def test_a_run_on_the_cpu_leaves_a_gpu_alone(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Card")
    _, result = run_tiny("trainer=cpu", "model=bert_linear", "trainer.max_epochs=1")
    assert (result["environment"]["device"], result["environment"]["gpu"]) == ("cpu", None)


def test_a_run_goes_on_where_there_are_fewer_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, restored = Trainer(accelerator="cpu", barebones=True), list[list[torch.Tensor]]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.append)
    states = RandomStates()
    states.load_state_dict(states.state_dict() | {"cuda": [torch.zeros(16, dtype=torch.uint8)] * 2})
    states.on_train_start(trainer, LightningModule())
    assert [len(one) for one in restored] == [1]


def test_a_later_training_can_be_deterministic_on_a_gpu(run_tiny: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuBLAS is then deterministic; PyTorch reads the variable once per process, at the first product."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    run_tiny("model=bert_linear", "trainer.max_epochs=1", "trainer.deterministic=false")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


class Waits(TorchDispatchMode):
    """Counts the operations that a GPU would be waited for, by the library that asks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in WAITS:
            files = [frame.filename for frame in traceback.extract_stack()]
            self.found["transformers" if any("masking_utils" in file for file in files) else "others"] += 1
        return func(*args, **(kwargs or {}))


class Watch(Callback):
    """Counts in ten steps, after those at the start of a phase that are looked at."""

    steps: ClassVar = range(22, 32)
    found: ClassVar[list[Counter[str]]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.steps.start:
            self.waits = Waits()
            self.waits.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.steps.stop:
            self.waits.__exit__(None, None, None)
            self.found.append(self.waits.found)


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        (["freeze=none", "model=bert_linear"], {"transformers": 10}),  # which looks whether a batch has padding
        (["freeze=all"], {}),
        (["freeze=all", "model=bert_linear", "data.windows=true", "data.stride=4"], {}),
    ],
)
def test_steps_do_not_wait_for_the_device(options: list[str], waits: dict[str, int], run_tiny: Run) -> None:
    Watch.found.clear()
    watched = "+callbacks.watch._target_=tests.training.test_devices.Watch"
    short = ["data.batch_size=4", "data.limit=200", "trainer.max_epochs=1", "trainer.log_every_n_steps=0"]
    run_tiny(*options, *short, watched)
    [found] = Watch.found
    assert dict(found) == waits
