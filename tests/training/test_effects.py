"""Values that a training does not feel are named, and those that are named are not felt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.files.told import TOLD
from src.freezing.strategy import Stage
from src.models.build import build_network, stages_and_phases
from src.models.checks import find_backbone, read_config
from src.runs.folder import RunFolder
from src.tables.reading import LAYOUT
from src.training.effects import find_idle, find_idle_data, warn_of_idle
from tests.conftest import Command, composed

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]
LP_FT = "freeze=lp_ft freeze.epochs=1"
CASES = [
    # how it is trained, a key with two values, and whether it makes no difference
    ("freeze=all", "optimizer.lr", (1e-5, 1e-2), True),
    ("freeze=all", "backbone.lr", (1e-5, 1e-2), True),
    ("freeze=all optimizer.head_lr=null", "optimizer.lr", (1e-5, 1e-2), False),
    ("freeze=all", "optimizer.head_lr", (1e-4, 1e-2), False),
    ("freeze=all", "optimizer.layer_decay", (0.5, 1.0), True),
    ("freeze=all", "optimizer.thaw_warmup", (0.1, 1.0), True),
    ("freeze=all", "backbone.dropout", (0.1, 0.5), True),
    ("freeze=mix", "optimizer.lr", (1e-5, 1e-2), True),
    ("freeze=top freeze.layers=0", "optimizer.lr", (1e-5, 1e-2), True),
    ("freeze=top freeze.layers=1", "optimizer.lr", (1e-5, 1e-2), False),
    ("freeze=top freeze.layers=1", "optimizer.layer_decay", (0.5, 1.0), True),
    ("freeze=top freeze.layers=2", "optimizer.layer_decay", (0.5, 1.0), False),
    ("freeze=cut freeze.layers=2", "optimizer.lr", (1e-5, 1e-2), True),
    ("freeze=cut freeze.layers=2 freeze.train=1", "optimizer.layer_decay", (0.5, 1.0), True),
    ("freeze=bitfit", "optimizer.lr", (1e-5, 1e-2), False),
    ("freeze=lora", "optimizer.lr", (1e-5, 1e-2), False),
    ("freeze=none", "optimizer.lr", (1e-5, 1e-2), False),
    ("freeze=none", "optimizer.thaw_warmup", (0.1, 1.0), True),
    ("freeze=none", "backbone.dropout", (0.1, 0.5), False),
    (f"{LP_FT} freeze.lr=1e-4", "optimizer.thaw_warmup", (0.1, 1.0), False),
    (LP_FT, "optimizer.lr", (1e-5, 1e-2), False),
    ("freeze=gradual", "optimizer.thaw_warmup", (0.1, 1.0), False),
]


@pytest.mark.parametrize(
    ("how", "key", "values", "idle"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (number % 4 > 0)) for number, case in enumerate(CASES)],
)
def test_what_has_no_effect_is_told(
    how: str, key: str, values: tuple[float, float], idle: bool, run_tiny: Run, caplog: pytest.LogCaptureFixture
) -> None:
    states = []
    for number, value in enumerate(values):
        overrides = ("model=bert_linear", "activations=off", *how.split(), f"{key}={value}")
        folder, _ = run_tiny(*overrides, name=str(number))
        states.append(torch.load(folder.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    same = all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert same == idle
    cfg = folder.saved_config()
    settings, strategy = read_config(cfg)
    encoder, head, _ = build_network(cfg, settings, strategy, find_backbone(settings.backbone), 3, ())
    stages, phases = stages_and_phases(encoder, head, strategy)
    assert (key in find_idle(settings, stages, phases)) == idle
    caplog.clear()
    warn_of_idle([key, "model.dropout", "seed"], strategy.name, settings, stages, phases)
    assert [f"{key} has no effect: with freeze={strategy.name} " in message for message in caplog.messages] == [
        True
    ] * idle


@pytest.mark.parametrize(
    ("overrides", "idle"),
    [
        (("freeze=none",), "nothing is frozen from the input on"),
        (("freeze=none", "model=bert_mlm"), "other tokens are masked in every epoch"),
        (("freeze=bottom", "freeze.layers=1"), None),
        (("freeze=gradual",), None),
    ],
)
def test_a_store_that_there_cannot_be_needs_no_room(
    overrides: tuple[str, ...], idle: str | None, tiny_bert: Path
) -> None:
    cfg = composed("model=bert_linear", f"backbone.name={tiny_bert}", *overrides)
    settings, strategy = read_config(cfg)
    encoder, head, _ = build_network(cfg, settings, strategy, find_backbone(settings.backbone), 3, ())
    found = find_idle(settings, *stages_and_phases(encoder, head, strategy))
    for key in ("activations", "activations.max_gb"):
        assert found.get(key) == (f"{idle}, so there is no store" if idle else None)


@pytest.mark.slow
def test_a_sweep_over_what_no_job_feels_says_so(multirun: Command) -> None:
    ended = multirun("model=bert_linear", "optimizer.lr=1e-5,1e-3")
    said = "optimizer.lr has no effect: with freeze=all nothing of the backbone trains; the head's learning rate is "
    assert ended.stdout.count(said) == 1
    assert "has no effect" not in multirun("model=bert_linear", "freeze=none", "optimizer.lr=1e-5,1e-3").stdout


def test_jobs_of_a_sweep_warn_once_of_each_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(TOLD, str(tmp_path / "warnings"))
    settings, strategy = read_config(composed())
    stages = [Stage(name, (name,)) for name in ("embeddings", "layer.0", "head")]
    for name in ("all", "all", "mix"):
        warn_of_idle(["optimizer.lr", "data.repeat"], name, settings, stages, strategy.phases(stages))
    assert [message.partition(": with ")[2].split()[0] for message in caplog.messages] == [
        *("freeze=all", "data.folds=null", "freeze=mix")
    ]


@pytest.mark.parametrize(
    ("overrides", "idle"),
    [
        ((), "data.repeat has no effect: with data.folds=null the texts are not divided into folds."),
        (
            ("data.folds=3", "data.fold=1"),
            "data.test_fraction has no effect: with data.folds=3 the test split is a fold.",
        ),
        (
            ("data.max_windows=2",),
            "data.max_windows has no effect: with data.windows=false texts are not read in windows.",
        ),
        (
            ("model=bert_mlm", "data.task=regression"),
            "data.task has no effect: with model=bert_mlm no labels are read.",
        ),
        (
            ("data=hub", "data.name=org/name", "data.label=x", "data.encoding=cp1252"),
            "data.encoding has no effect: with data.name=org/name no file is one of .csv, .tsv, .jsonl, .json, .txt.",
        ),
    ],
)
def test_keys_of_the_data_without_effect_are_named(
    overrides: tuple[str, ...], idle: str, tiny_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, strategy = read_config(composed("model=bert_linear", f"backbone.name={tiny_bert}", *overrides))
    stages = [Stage(name, (name,)) for name in ("embeddings", "layer.0", "head")]
    keys = [override.partition("=")[0] for override in overrides if override != "data.folds=3"]
    keys += ["data.repeat", "data.test_fraction"] if not overrides or "data.folds=3" in overrides else []
    warn_of_idle(keys, strategy.name, settings, stages, strategy.phases(stages))
    assert caplog.messages == [idle]


@pytest.mark.parametrize(
    ("name", "idle"),
    [
        ("texts.csv", ()),
        ("texts.tsv.gz", ()),
        ("texts.jsonl", ("delimiter", "quoting", "header")),
        ("texts.parquet", ("delimiter", "quoting", "header", "encoding")),
        ("texts.xlsx", ("delimiter", "quoting", "encoding")),
        ("*.arrow", ("delimiter", "quoting", "header", "encoding")),
        ("data", ("header", "delimiter", "quoting")),
    ],
)
def test_how_files_are_written_has_no_effect_on_other_kinds(name: str, idle: tuple[str, ...], tmp_path: Path) -> None:
    for file in ("texts.csv", "texts.parquet", "texts.jsonl", "texts.xlsx", "a.arrow", "data/a.parquet", "data/b.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    settings, _ = read_config(composed(f"data.path={tmp_path / name}"))
    found = {key for key in find_idle_data(settings) if key.removeprefix("data.") in LAYOUT}
    assert found == {f"data.{key}" for key in idle}
