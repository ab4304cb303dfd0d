"""What trains, in words."""

from __future__ import annotations

import pytest

from src.freezing.words import trained, trains

STAGES = ("embeddings", "layer.0", "layer.1", "layer.2", "layer.3", "head")


@pytest.mark.parametrize(
    ("fractions", "said"),
    [
        ((1, 1, 1, 1, 1, 1), "everything"),
        ((0, 0, 0, 0, 0, 1), "the head"),
        ((0, 0, 0, 0, 1, 1), "layer 3 and the head"),
        ((0, 1, 1, 1, 1, 1), "layers 0-3 and the head"),
        ((0, 1, 0, 1, 1, 1), "layers 0 and 2-3 and the head"),
        ((1, 0, 0, 0, 1, 1), "the embeddings, layer 3 and the head"),
        ((0, 0.1, 0.1, 0.1, 0.1, 1), "parts of layers 0-3, and the head"),
        ((0.1, 0.1, 0.1, 0.1, 1, 1), "parts of the embeddings and layers 0-2, and layer 3 and the head"),
        ((0, 0, 0, 0, 0, 0), "nothing"),
    ],
)
def test_stages_are_named_in_ranges(fractions: tuple[float, ...], said: str) -> None:
    assert trains(dict(zip(STAGES, fractions, strict=True))) == said


def test_a_run_has_trained_what_any_of_its_phases_did() -> None:
    def phase(*trainable: int) -> dict[str, object]:
        rows = zip(STAGES, trainable, strict=True)
        return {"audit": [{"stage": name, "parameters": 10, "trainable": count} for name, count in rows]}

    assert trained([phase(0, 0, 0, 0, 0, 10), phase(0, 0, 0, 0, 10, 10)]) == "layer 3 and the head"
    assert trained([{"first_step": 0}]) == ""
