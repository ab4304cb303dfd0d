"""Run folders with a result, as the comparison reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch

from src.arrays import NDArray
from src.modules.metrics import measure_numbers
from src.runs.folder import RunFolder
from tests.conftest import composed


def numbers(
    root: Path, freeze: str, seed: int, true: NDArray[np.float64], said: NDArray[np.float64], seconds: float
) -> RunFolder:
    """Leaves a run that predicts one number per text, whose standard deviation in training was 2.

    Args:
        root: of all runs.
        freeze: its strategy.
        seed: of the run.
        true: the numbers.
        said: the predicted ones.
        seconds: that the run took.
    """
    columns = {"row": range(len(true)), "text": [f"text number {n}" for n in range(len(true))]}
    scores = measure_numbers(*(torch.from_numpy(side[:, None]) for side in (said, true)))
    finished(
        root,
        (f"freeze={freeze}", "data.task=regression"),
        seed,
        0.0,
        objective="regression",
        labels=["score"],
        target_mean=[0.0],
        target_std=[2.0],
        metrics={"validation": scores, "test": scores},
        seconds={"fit": 1.0, "total": seconds},
        best={"epoch": 1},
        history=[{"epoch": 1, "validation/loss": 0.5}],
    )
    folder = RunFolder(root / f"{freeze}_regression_{seed}")
    folder.write_status("finished")
    table = pyarrow.table({**columns, "true": true[:, None].tolist(), "predicted": said[:, None].tolist()})
    for split in ("validation", "test"):
        pyarrow.parquet.write_table(table, folder.file("predictions", f"{split}.parquet"))
    return folder


def finished(root: Path, overrides: tuple[str, ...], seed: int, accuracy: float, **more: Any) -> None:
    """Leaves a run of a binary task with that accuracy.

    Args:
        root: of all runs.
        overrides: of its config.
        seed: of the run.
        accuracy: on validation and test.
        more: further keys of result.json.
    """
    folder = RunFolder(root / "_".join(override.partition("=")[2] for override in (*overrides, f"seed={seed}")))
    folder.claim(composed(*overrides, f"seed={seed}"))
    scores = {"accuracy": accuracy, "f1_macro": accuracy}
    result = {
        "format": 1,
        "objective": "binary",
        "labels": ["no", "yes"],
        "metrics": {"validation": scores, "test": scores},
        "parameters": {"trainable": 10, "total": 40},
        "seconds": {"fit": 1.0, "total": 2.0},
        "history": [{}],
        "peak_memory_bytes": 1,
        "environment": {"gpu": None, "device": "cpu"},
        "seed": seed,
    }
    folder.write_json("result.json", result | more)
