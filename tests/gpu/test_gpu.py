"""Runs on a CUDA device: strategies and heads, precisions, stores, resuming, and the use of such runs elsewhere.

Skipped where there is no such device. GPU_REHEARSAL=1 runs the same on the CPU, which finds mistakes of the tests.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet
import pytest
import torch
from pytorch_lightning import Callback

from src import train as training
from src.arrays import NDArray
from src.config.folder import CONF
from src.errors import UserError
from src.predict import Predictor
from src.runs.folder import RunFolder
from tests.conftest import composed, main, power_cut

REHEARSAL = os.environ.get("GPU_REHEARSAL") == "1"
DEVICE = "gpu" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cpu" and not REHEARSAL, reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),  # those of CUDA are to be read at the end, and must not stop a rare run
]
STRATEGIES = {
    "none": ["freeze=none"],
    "bottom": ["freeze=bottom", "freeze.layers=1"],
    "all": ["freeze=all"],
    "mix": ["freeze=mix"],
    "cut": ["freeze=cut", "freeze.layers=2"],
    "lora": ["freeze=lora"],
    "bitfit": ["freeze=bitfit"],
    "gradual": ["freeze=gradual", "freeze.stages_per_phase=2", "trainer.max_epochs=3"],
}
HEADS = {"linear": ["model=bert_linear", "model.dropout=0.0"], "bilstm": ["model.hidden_size=8", "model.dropout=0.0"]}
# ModernBERT has no biases, and `mix` reads pooled vectors.
CASES = [
    (strategy, head, architecture)
    for strategy, head, architecture in itertools.product(STRATEGIES, HEADS, ("bert", "modernbert"))
    if (strategy, architecture) != ("bitfit", "modernbert") and (strategy, head) != ("mix", "bilstm")
]
CUDA_ONLY = pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


@pytest.fixture(autouse=True)
def without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's LSTM computes in TF32 unless told otherwise, which has a mantissa of 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def run_on(tmp_path: Path, backbone_folder: Callable[..., Path]) -> Run:
    """Trains 20 steps on a device, without dropout, whose random numbers would differ between devices."""

    def run(device: str, *overrides: str, architecture: str = "bert", name: str = "") -> tuple[RunFolder, Any]:
        folder, backbone = RunFolder(tmp_path / (name or device)), backbone_folder(architecture, dropout=False)
        cache = [] if any(one.startswith("cache=") for one in overrides) else [f"cache={tmp_path / 'cache' / device}"]
        given = without(overrides, [f"trainer={device}", *small(backbone), *cache])
        return folder, training.train(composed(*given, *overrides), folder)

    return run


def small(backbone: Path) -> list[str]:
    data = ["data.train_size=160", "data.limit=160", "data.batch_size=8", "data.max_length=32"]
    training = ["trainer.max_epochs=1", "trainer.precision=32-true", "callbacks.progress=null", "optimizer.lr=1e-3"]
    return [f"backbone.name={backbone}", *data, *training]


def without(overrides: Sequence[str], given: Sequence[str]) -> list[str]:
    """Returns what is given of keys that are not overridden."""
    keys = {one.partition("=")[0] for one in overrides}
    return [one for one in given if one.partition("=")[0] not in keys]


def losses(result: dict[str, Any]) -> list[float]:
    return [epoch[f"{split}/loss"] for epoch in result["history"] for split in ("train", "validation")]


def predicted(folder: RunFolder) -> NDArray[np.float64]:
    table = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet")
    return np.array(table.column("probabilities").to_pylist())


@pytest.mark.parametrize(("strategy", "head", "architecture"), CASES)
def test_losses_are_those_of_the_cpu(strategy: str, head: str, architecture: str, run_on: Run) -> None:
    options = [*HEADS[head], *STRATEGIES[strategy]]
    _, there = run_on(DEVICE, *options, architecture=architecture, name="there")
    _, here = run_on("cpu", *options, architecture=architecture, name="here")
    assert losses(there) == pytest.approx(losses(here), rel=1e-3)
    assert there["environment"]["device"].startswith("cuda" if DEVICE == "gpu" else "cpu")


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("16-mixed", marks=CUDA_ONLY)])
@pytest.mark.parametrize(
    ("strategy", "head"),
    [("none", "linear"), ("all", "linear"), ("lora", "linear"), pytest.param("all", "bilstm", marks=CUDA_ONLY)],
)
def test_mixed_precision_trains_nearly_alike(strategy: str, head: str, precision: str, run_on: Run) -> None:
    options = [*HEADS[head], *STRATEGIES[strategy]]
    _, mixed = run_on(DEVICE, *options, f"trainer.precision={precision}", name="mixed")
    _, full = run_on(DEVICE, *options, name="full")
    assert losses(mixed) == pytest.approx(losses(full), rel=3e-2)


@pytest.mark.parametrize("head", HEADS)
def test_stored_and_computed_states_give_the_same(head: str, run_on: Run) -> None:
    found = [
        run_on(DEVICE, *HEADS[head], "freeze=all", f"activations={mode}", name=mode) for mode in ("require", "off")
    ]
    assert losses(found[0][1]) == pytest.approx(losses(found[1][1]), rel=1e-3)


@pytest.mark.parametrize("first", ["gpu", "cpu"])
def test_a_store_is_read_on_the_other_device(first: str, run_on: Run, tmp_path: Path) -> None:
    devices = [DEVICE, "cpu"] if first == "gpu" else ["cpu", DEVICE]
    shared = [*HEADS["linear"], "freeze=all", f"cache={tmp_path / 'shared'}", "activations=require"]
    built, read = (run_on(device, *shared, name=name) for device, name in zip(devices, ("built", "read"), strict=True))
    assert losses(read[1]) == pytest.approx(losses(built[1]), rel=1e-3)
    stores = [path for path in (tmp_path / "shared" / "activations").iterdir() if path.is_dir()]
    assert len(stores) == 1


@pytest.mark.parametrize("strategy", ["none", "bottom", "all"])
def test_a_killed_run_goes_on_bit_for_bit(strategy: str, run_on: Run) -> None:
    options = [*HEADS["linear"], *STRATEGIES[strategy], "trainer.max_epochs=2", "trainer.deterministic=true"]
    _, whole = run_on(DEVICE, *options, name="whole")
    with power_cut(1, 5):
        run_on(DEVICE, *options, name="broken")
    _, resumed = run_on(DEVICE, *options, "resume=true", name="broken")
    assert losses(resumed) == losses(whole)


@pytest.mark.parametrize(
    "switch",
    [
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_checkpointing=true",
        pytest.param("trainer.compile=true", marks=CUDA_ONLY),
    ],
)
def test_switches_change_speed_and_memory_only(switch: str, run_on: Run) -> None:
    batch = ["data.batch_size=4"] if "accumulate" in switch else []
    _, plain = run_on(DEVICE, *HEADS["linear"], "freeze=none", name="plain")
    _, switched = run_on(DEVICE, *HEADS["linear"], "freeze=none", switch, *batch, name="switched")
    assert losses(switched) == pytest.approx(losses(plain), rel=2e-2)


def test_a_run_is_used_on_a_cpu(run_on: Run, tmp_path: Path) -> None:
    folder, _ = run_on(DEVICE, *HEADS["linear"], "freeze=none")
    texts = pyarrow.parquet.read_table(folder.path / "predictions" / "test.parquet").column("text").to_pylist()
    assert Predictor.load(folder.path, device="cpu").probabilities(texts) == pytest.approx(predicted(folder), abs=1e-4)
    main("export", [f"run={folder.path}", "format=safetensors", f"output={tmp_path / 'exported'}"])
    main("explain", [f"run={folder.path}", "text=A very good phone", "name=one", "layers=[0]", "heads=[0]"])
    assert json.loads((folder.path / "explanations" / "one" / "explanation.json").read_text())["runs"]


@CUDA_ONLY
@pytest.mark.parametrize(("strategy", "head"), [("gradual", "linear"), ("bottom", "bilstm")])
def test_a_plan_is_measured_on_the_device(
    strategy: str, head: str, backbone_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [*small(backbone_folder("bert")), f"trainer={DEVICE}", f"cache={tmp_path}", "plan.trial=true"]
    main("plan", without(HEADS[head], without(STRATEGIES[strategy], options)) + STRATEGIES[strategy] + HEADS[head])
    assert "In all: " in capsys.readouterr().out
    if DEVICE == "gpu":
        assert torch.cuda.max_memory_allocated() > 0


@CUDA_ONLY
def test_trainer_gpu_says_its_precision_and_each_run_its_own_peak(run_on: Run) -> None:
    _, large = run_on(DEVICE, *HEADS["bilstm"], "trainer.precision=auto", "model.hidden_size=512", name="large")
    _, small = run_on(DEVICE, *HEADS["linear"], "freeze=all", name="small")
    best = "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    assert [run["environment"]["precision"] for run in (large, small)] == [best, "32-true"]
    weights = [4 * run["parameters"]["total"] for run in (large, small)]
    assert weights[0] < large["peak_gpu_memory_bytes"]
    assert weights[1] < small["peak_gpu_memory_bytes"] < large["peak_gpu_memory_bytes"]


class Watch(Callback):
    """Counts in ten steps how often the host waits for the GPU, after those at the start that are looked at."""

    steps: ClassVar = range(22, 32)
    found: ClassVar[list[list[str]]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.steps.start:
            self.caught = warnings.catch_warnings(record=True)
            self.warnings = self.caught.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.steps.stop:
            torch.cuda.set_sync_debug_mode("default")
            self.caught.__exit__(None, None, None)
            self.found.append([f"{w.filename}:{w.lineno}" for w in self.warnings if "synchroniz" in str(w.message)])


@CUDA_ONLY
@pytest.mark.parametrize(
    ("options", "waits"),
    [
        (["freeze=none", *HEADS["linear"]], 10),  # transformers looks whether a batch has padding
        (["freeze=all", *HEADS["bilstm"]], 0),
        (["freeze=all", *HEADS["linear"], "data.windows=true", "data.stride=4"], 0),
    ],
)
def test_steps_do_not_wait_for_the_gpu(options: list[str], waits: int, run_on: Run) -> None:
    Watch.found.clear()
    watched = "+callbacks.watch._target_=tests.gpu.test_gpu.Watch"
    run_on(DEVICE, *options, "data.batch_size=4", "trainer.log_every_n_steps=0", watched)
    [found] = Watch.found
    assert len(found) == waits, found


def test_processes_with_a_device_each_train_as_one_does(
    run_on: Run, tmp_path: Path, backbone_folder: Callable[..., Path]
) -> None:
    """On a machine with a single GPU that is one process, in a group of its own."""
    options = [*HEADS["linear"], *STRATEGIES["none"]]
    _, one = run_on(DEVICE, *options)
    devices = [] if DEVICE == "gpu" else ["trainer.accelerator=cpu", "trainer.devices=2"]
    places = [f"run={tmp_path / 'group'}", f"cache={tmp_path}"]
    given = ["trainer=ddp", *devices, *small(backbone_folder("bert", dropout=False)), *options, *places]
    subprocess.run([sys.executable, "-m", "src.train", *given], check=True, cwd=CONF.parent, stdout=subprocess.DEVNULL)
    assert losses(RunFolder(tmp_path / "group").read_result()) == pytest.approx(losses(one), rel=1e-3)


@CUDA_ONLY
def test_too_little_memory_is_one_message(run_on: Run) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(UserError, match=r"must fit into the memory of cuda:0; batches of 128 texts"):
            run_on(DEVICE, *HEADS["bilstm"], "freeze=none", "data.batch_size=128", "model.hidden_size=512")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
