"""Seconds of each epoch of a training, and what its steps do on the device: for Lightning and for the `transformers`
Trainer alike.

    python -m src.train +callbacks.measured._target_=benchmarks.measured.InLightning +callbacks.measured.file=FILE.json
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

STEPS = 8  # of a profile
WAITS = ("Synchronize", "aten::_local_scalar_dense", "aten::nonzero")  # a host that waits for the device
SHOWN = 5  # operations


class Measured:
    """Writes a JSON file: of each epoch `train_seconds`, of its steps alone, and `seconds`, with validation and
    checkpoint; the peak memory of the GPU.

    Args:
        file: to write.
        profiled: the step from which on some are profiled, which makes their epoch slower; None: no profile. The first
            40 do what later ones do not.
    """

    def __init__(self, file: str, profiled: int | None = None) -> None:
        self.file, self.profiled = Path(file), profiled
        self.begun = self.trained = self.since = 0.0  # when an epoch, its validation and a profile began
        self.steps = 0
        self.content: dict[str, Any] = {"epochs": []}
        self.running: profile | None = None

    def begin_epoch(self) -> None:
        if self.trained:
            self._end_epoch()
        self.begun = _now()

    def end_steps(self) -> None:
        """Called when the last step of an epoch has been taken, before its validation."""
        self.trained = _now()

    def end_step(self) -> None:
        self.steps += 1
        if self.profiled is None:
            return
        if self.steps == self.profiled:
            self.since = _now()
            self.running = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * _cuda()])
            self.running.start()
        elif self.running and self.steps == self.profiled + STEPS:
            seconds = _now() - self.since
            self.running.stop()
            self.content["profile"] = summary(self.running, seconds)
            self.running = None

    def end(self) -> None:
        self._end_epoch()
        self.content["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated() if _cuda() else None
        self.file.write_text(json.dumps(self.content), encoding="utf-8")

    def _end_epoch(self) -> None:
        epoch = {"train_seconds": self.trained - self.begun, "seconds": _now() - self.begun}
        self.content["epochs"].append(epoch)
        self.trained = 0.0


class InLightning(Measured, Callback):
    """The same as a callback of Lightning."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.begin_epoch()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.end_step()
        if batch_idx + 1 == trainer.num_training_batches:
            self.end_steps()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.end()


class InTrainer(Measured, TrainerCallback):
    """The same as a callback of the `transformers` Trainer."""

    def on_epoch_begin(self, *arguments: Any, **options: Any) -> None:
        self.begin_epoch()

    def on_step_end(self, *arguments: Any, **options: Any) -> None:
        self.end_step()

    def on_epoch_end(self, *arguments: Any, **options: Any) -> None:
        self.end_steps()

    def on_train_end(self, *arguments: Any, **options: Any) -> None:
        self.end()


def summary(found: profile, seconds: float) -> dict[str, Any]:
    """What `STEPS` steps did: milliseconds of one, the share of them in which the device was busy (None on a CPU), how
    often in a step the host waits for it and launches something, and the operations that take longest.

    Args:
        found: by the profiler, which has stopped.
        seconds: that the steps took.
    """
    events = found.key_averages()
    on_device = [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]
    longest = sorted(on_device, key=lambda e: -e.self_device_time_total) if on_device else None
    longest = longest or sorted(events, key=lambda e: -e.self_cpu_time_total)
    busy = sum(e.self_device_time_total for e in on_device) / 1e6

    def each_step(*parts: str) -> float:
        return sum(e.count for e in events if any(part in e.key for part in parts)) / STEPS

    def milliseconds(event: Any) -> float:
        return float(event.self_device_time_total if on_device else event.self_cpu_time_total) / 1e3 / STEPS

    return {
        "step_ms": 1e3 * seconds / STEPS,
        "busy": busy / seconds if on_device else None,
        "waits": {part: each_step(part) for part in WAITS},
        "launches": each_step("LaunchKernel"),
        "longest": [[event.key[:60], milliseconds(event)] for event in longest[:SHOWN]],
    }


def _cuda() -> bool:
    return torch.cuda.is_available()


def _now() -> float:
    if _cuda():
        torch.cuda.synchronize()
    return time.perf_counter()
