"""One run on each kind of device that Lightning knows; skipped where there is none of the kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytorch_lightning.accelerators import AcceleratorRegistry

from src.runs.folder import RunFolder

KINDS = {
    name: AcceleratorRegistry[name]["accelerator"] for name in sorted(AcceleratorRegistry.available_accelerators())
}
CASES = [
    pytest.param(name, marks=pytest.mark.skipif(not kind.is_available(), reason=f"there is no {name}"))
    for name, kind in KINDS.items()
]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("freeze", ["none", "all"])
def test_a_run_gives_what_it_gives_on_a_cpu(
    kind: str, freeze: str, run_tiny: Callable[..., tuple[RunFolder, dict[str, Any]]]
) -> None:
    options = [f"freeze={freeze}", "model=bert_linear", "model.dropout=0.0", "backbone.dropout=0.0", "data.limit=120"]
    _, wanted = run_tiny(*options, name="cpu")
    _, found = run_tiny(*options, f"trainer.accelerator={kind}", name="other")
    assert found["metrics"]["test"]["loss"] == pytest.approx(wanted["metrics"]["test"]["loss"], rel=1e-3)
