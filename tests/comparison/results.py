"""Run folders with a result, as the comparison reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src.runs.folder import RunFolder
from tests.conftest import composed


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
