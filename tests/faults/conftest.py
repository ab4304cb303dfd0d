"""What a fault is set against: trainings that nothing happens to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.runs import Ended, Training

SITUATIONS = {
    "unfrozen": "freeze=none model=bert_linear scheduler=plateau activations=off",
    "stored": "freeze=all model=bert_bilstm model.hidden_size=8",
    "phases": "freeze=gradual model=bert_linear trainer.accumulate_grad_batches=2 trainer.max_epochs=5",
    "phases by plateau": "freeze=gradual freeze.until=plateau freeze.min_delta=9 model=bert_linear scheduler=plateau",
    "workers": "freeze=bottom freeze.layers=1 model=bert_linear data.workers=2",
    "restored": "freeze=lp_ft freeze.epochs=1 model=bert_linear trainer.accumulate_grad_batches=3",
    "lora": "freeze=lora model=bert_linear scheduler=onecycle optimizer.lr=1e-3",
    "mix": "freeze=mix model=bert_linear scheduler=cosine",
    "early stopping": "freeze=all model=bert_linear callbacks.early_stopping.patience=1 optimizer.lr=0.5",
    "masked": "model=bert_mlm freeze=none",
}
Make = Callable[..., Training]


@pytest.fixture(scope="session")
def make(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A training in a new folder, with a store of its own unless told otherwise."""

    def made(situation: str, *options: str, cache: Path | None = None, **environment: str) -> Training:
        root = tmp_path_factory.mktemp("fault")
        shared = [
            f"backbone.name={tiny_bert}",
            "data.limit=60",
            "data.max_length=32",
            "data.batch_size=8",
            "data.eval_batch_size=16",
            "trainer=cpu",
            "trainer.max_epochs=3",
            "callbacks.progress=null",
            "callbacks.checkpoint.every_minutes=0",
            f"cache={cache or root / 'cache'}",
        ]
        return Training(root, root / "run", [*shared, *SITUATIONS[situation].split(), *options], environment)

    return made


@pytest.fixture(scope="session")
def untouched(make: Make) -> Callable[[str], Ended]:
    """The run of a situation that nothing happened to."""
    ended: dict[str, Ended] = {}

    def find(situation: str) -> Ended:
        if situation not in ended:
            ended[situation] = make(situation)()
            assert ended[situation].code == 0, ended[situation].output
        return ended[situation]

    return find
