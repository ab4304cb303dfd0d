"""A backbone that is at hand is all that a run looks for: nobody is asked anything."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from safetensors.torch import load_file

from src.export import export
from src.files import hub
from src.predict import Predictor
from src.runs.folder import RunFolder
from tests.conftest import composed_for

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tiny_bert: Path) -> list[str]:
    """What is looked for in the network, which is refused. The tiny backbone has a name on the hub."""
    found: list[str] = []

    def refuse(*given: Any, **_: Any) -> Any:
        found.append(str(given))
        raise OSError("no network")

    for place, name in ((socket, "getaddrinfo"), (socket, "create_connection"), (socket.socket, "connect")):
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "download_model", lambda name, revision: tiny_bert)
    return found


@pytest.mark.parametrize("model", ["bert_linear", "bert_mlm"])
@pytest.mark.parametrize("freeze", ["lora", "none"])
def test_nothing_is_looked_up(model: str, freeze: str, run_tiny: Run, asked: list[str], tmp_path: Path) -> None:
    folder, _ = run_tiny(f"model={model}", f"freeze={freeze}", "backbone.name=org/tiny", "trainer.max_epochs=1")
    Predictor.load(folder.path)
    export(composed_for("export", run=str(folder.path), output=str(tmp_path / "out")))
    assert asked == []
    if freeze == "lora":
        adapters = load_file(folder.path / "adapter" / "adapter_model.safetensors")
        assert adapters
        assert all(".lora_" in name for name in adapters)
