"""In what runs must be alike to be compared: tests, tokens where words are guessed, devices, the files of backbones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.errors import UserError

if TYPE_CHECKING:
    from src.comparison.groups import Run

KIND = "backbone._target_"  # the name of a pretrained backbone, among the values of a run


LIMITED, SIZE = "trainer.limit_test_batches", "data.eval_batch_size"  # which texts are tested, where not all are


# What may differ in the data section of runs that are compared: how texts become batches.
BATCHES = ("data.batch_size", SIZE, "data.buckets", "data.workers", "data.class_weights", "data.pack")


# What says how texts are cut into tokens.
TOKENS = tuple(
    f"backbone.{key}" for key in ("name", "package", "tokenizer", "vocabulary", "lowercase", "min_frequency")
)


def unlike(runs: Sequence[Run]) -> list[str]:
    """In what runs differ that their tests depend on: data, and where they guess hidden words, tokens and masks."""
    masked = any(run.result and run.result["objective"] == "mlm" for run in runs)
    keys = {key for run in runs for key in run.values}
    limited = any(run.values.get(LIMITED, "1.0") != "1.0" for run in runs)
    free = [key for key in BATCHES if key != SIZE or not limited]
    tests = sorted(key for key in keys if key == LIMITED or (key.startswith("data.") and key not in free))
    words = sorted(key for key in keys if masked and key.startswith(("model.masking.", *TOKENS)))
    return [key for key in (*tests, *words) if len({run.values.get(key) for run in runs}) > 1]


def changed_backbones(runs: Sequence[Run]) -> list[str]:
    """The backbones whose files were not the same for all runs; those of other runs go by how these were trained."""
    found: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        name, revision = run.values[KIND], run.values.get("backbone.revision", "")
        if name != "run" and (known := (run.result or {}).get("backbone")):
            found.setdefault((name, revision), set()).add(json.dumps(known["files"], sort_keys=True))
    return sorted(name for (name, _), files in found.items() if len(files) > 1)


def check_alike(runs: Sequence[Run]) -> None:
    if other := unlike(runs):
        raise UserError(
            f"Runs must have the same test to be compared; these differ in {', '.join(other)}.\n"
            "Compare them anyway: mixed=true."
        )
    devices = {
        str(run.result["environment"]["gpu"] or run.result["environment"]["device"]) for run in runs if run.result
    }
    if len(devices) > 1:
        raise UserError(
            f"Runs must be of one kind of device to be compared; these are of {', '.join(sorted(devices))}.\n"
            "Compare them anyway: mixed=true."
        )
