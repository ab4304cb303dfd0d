"""What must be equal for runs to be comparable: test data, device, backbone files and, for masked tokens, tokenizer and
masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.errors import UserError

if TYPE_CHECKING:
    from src.grouping.runs import Run

KIND = "backbone._target_"  # the key of the backbone's name among the values of a run


LIMITED, SIZE = (
    "trainer.limit_test_batches",
    "data.eval_batch_size",
)  # together they select the test texts, unless all are used


# Keys of the data section that may differ between compared runs: they only affect batching, the loss and the number of
# training texts. Folds and repeats are no values of a run.
FREE = (
    *("data.batch_size", SIZE, "data.buckets", "data.workers", "data.class_weights", "data.sampling", "data.pack"),
    "data.train_size",
)


# Which tokens of the same texts a classifier reads.
READ = ("data.truncation", "data.windows", "data.stride", "data.max_windows")


# Keys that determine the tokenization.
TOKENS = tuple(
    f"backbone.{key}" for key in ("name", "package", "tokenizer", "vocabulary", "lowercase", "min_frequency")
)


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Keys that affect the test and differ between the runs: those of the data and, for masked tokens, of tokenizer and
    masking."""
    masked = any(run.result and run.result["objective"] == "mlm" for run in runs)
    keys = {key for run in runs for key in run.values}
    limited = any(run.values.get(LIMITED, "1.0") != "1.0" for run in runs)
    ignored = [key for key in FREE if key != SIZE or not limited] + ([] if masked else [*READ])
    data = sorted(key for key in keys if key == LIMITED or (key.startswith("data.") and key not in ignored))
    masking = sorted(key for key in keys if masked and key.startswith(("model.masking.", *TOKENS)))
    return [key for key in (*data, *masking) if len({run.values.get(key) for run in runs}) > 1]


def changed_backbones(runs: Sequence[Run]) -> list[str]:
    """Names of the backbones whose files were not the same for all runs. `backbone=run` is identified by its config
    instead."""
    found: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        name, revision = run.values[KIND], run.values.get("backbone.revision", "")
        if name != "run" and (known := (run.result or {}).get("backbone")):
            found.setdefault((name, revision), set()).add(json.dumps(known["files"], sort_keys=True))
    return sorted(name for (name, _), files in found.items() if len(files) > 1)


def check_comparable(runs: Sequence[Run]) -> None:
    """
    Raises:
        UserError: the runs differ in their test or in their device.
    """
    if different := differing_settings(runs):
        raise UserError(
            f"Compared runs must have the same test; these differ in {', '.join(different)}.\n"
            "Compare them anyway: mixed=true."
        )
    devices = {
        str(run.result["environment"]["gpu"] or run.result["environment"]["device"]) for run in runs if run.result
    }
    if len(devices) > 1:
        raise UserError(
            f"Compared runs must use the same kind of device; these used {', '.join(sorted(devices))}.\n"
            "Compare them anyway: mixed=true."
        )
