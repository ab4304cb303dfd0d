"""The benchmarks compare like with like. Their timings are not tested."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hydra import compose, initialize_config_dir
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import answer, coverage, gpu, gpu_parts, long_documents, strategies
from benchmarks import rows as many_rows
from benchmarks import train as benchmark
from benchmarks.generator import STRONG_SEEDS, Population
from benchmarks.limit import forward_flops, matmul_flops_per_second
from benchmarks.trainer import Classifier, freeze, groups
from src.backbones.loading import load_encoder
from src.backbones.stages import stages_of
from src.config.folder import CONF
from src.freezing.strategy import Stage
from src.models.checks import read_config
from src.models.heads import LinearHead
from src.modules.optimizers import head_rate
from src.race.recorded import Ran, Recorded
from src.race.rules import Exit, Goal, Reason, Rules
from src.tables.tables import read_table
from tests.backbones.test_backbones import source_of
from tests.conftest import composed
from tests.data.test_data import write_csv


@pytest.mark.parametrize("name", benchmark.JOBS)
def test_both_sides_train_the_same_parameters_at_the_same_rates(name: str, tiny_bert: Path) -> None:
    job = benchmark.JOBS[name]
    strategy = job.freeze.replace("4", "2")  # the tiny backbone has three layers
    kind, _, layers = strategy.partition(":")
    settings, thaw = read_config(composed(f"freeze={kind}", *([f"freeze.layers={layers}"] if layers else [])))
    encoder = load_encoder(source_of(tiny_bert))
    freeze(encoder, strategy)
    head = LinearHead(encoder.config.hidden_size, 1, "mean", 0.1)
    backbone = stages_of(n for n, _ in encoder.named_parameters())
    [phase] = thaw.phases([*backbone, Stage("head", ("head.linear.weight", "head.linear.bias"))])
    named = dict(encoder.named_parameters())
    assert {n for n, p in named.items() if p.requires_grad} == {n for n in phase.trainable if n in named}
    rates = {id(p): group["lr"] for group in groups(Classifier(encoder, head)) for p in group["params"]}
    assert rates.keys() == {id(p) for p in [*named.values(), *head.parameters()] if p.requires_grad}
    assert {rates[id(p)] for p in head.parameters()} == {head_rate(settings.optimizer, is_probe=kind == "all")}
    assert {rates[id(p)] for p in named.values() if p.requires_grad} <= {settings.optimizer.lr}


@pytest.mark.parametrize("name", benchmark.JOBS)
def test_every_job_is_a_run(name: str) -> None:
    cfg = composed(*benchmark.JOBS[name].thaw)
    assert read_config(cfg)[1].name == benchmark.JOBS[name].freeze
    assert cfg.trainer.max_epochs == benchmark.JOBS[name].epochs


@pytest.mark.parametrize("name", gpu_parts.JOBS)
def test_every_job_of_a_gpu_is_a_run_of_what_the_other_side_trains(name: str, tmp_path: Path) -> None:
    bench, job = gpu_parts.Bench(gpu_parts.FULL, tmp_path, tmp_path, tmp_path), gpu_parts.JOBS[name]
    assert len({part for part, *_ in bench.parts()}) == len([*bench.parts()])
    cfg = composed(*job.thaw, *bench.options("BERT-base", "documents"))
    assert read_config(cfg)[1].name.startswith(job.freeze)
    assert (cfg.trainer.accelerator, cfg.data.max_length) == ("gpu", 512)


def test_a_part_that_fails_costs_only_itself_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = gpu_parts.Bench(gpu_parts.FULL, tmp_path, tmp_path, tmp_path)
    calls = []

    def second() -> dict[str, float]:
        calls.append(bench.most)
        return bench.run("benchmarks.absent") if len(calls) == 1 else {"seconds": 2.0}

    monkeypatch.setattr(bench, "parts", lambda: [("first", 60, lambda: {"seconds": 1.0}), ("second", 60, second)])
    chosen = argparse.Namespace(parts=None, seconds=100, results=tmp_path / "gpu.json")
    results: dict[str, Any] = {}
    gpu.run_parts(bench, chosen, results)
    assert "second: failed: RuntimeError: benchmarks.absent failed with 1" in capsys.readouterr().out
    gpu.run_parts(bench, chosen, results)
    assert calls == [60, 60]
    assert [json.loads(chosen.results.read_text())[name]["seconds"] for name in ("first", "second")] == [1, 2]


@pytest.mark.slow
def test_both_sides_of_a_gpu_benchmark_are_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write_csv(tmp_path / f"{split}.csv", [(f"{split} text {i}", i % 2) for i in range(160)])
    results = tmp_path / "results" / "gpu.json"
    given = ["--data", str(tmp_path), "--rehearse", "--results", str(results), "--parts", "encode, BERT", "bottom"]
    command = [sys.executable, "-m", "benchmarks.gpu", *given]
    subprocess.run(command, cwd=CONF.parent, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(results.read_text())
    assert {name: part.get("failed") for name, part in found.items()} == dict.fromkeys(found)
    assert len(found) == 4 + 4
    both = [found[f"bottom 8 of 12, BERT-base, documents, {side}"] for side in ("Thaw", "Trainer")]
    assert [len(part["epochs"]) for part in both] == [2, 2]
    assert all(0 < epoch["train_seconds"] < epoch["seconds"] for part in both for epoch in part["epochs"])


def test_long_documents_have_one_review_at_any_place_and_every_reading_is_a_run(tmp_path: Path) -> None:
    for name, other in (("rotten_tomatoes", "1"), ("subj", "subjective")):
        (tmp_path / name).mkdir()
        for split in ("train", "validation", "test"):
            rows = [(f"{name}-{split}-{i}", other if i % 2 else {"1": "0"}.get(other, "objective")) for i in range(40)]
            write_csv(tmp_path / name / f"{split}.csv", rows)
    long_documents.write(tmp_path, tmp_path / "out", (30, 5, 5), 4, 0)
    long_documents.write(tmp_path, tmp_path / "few", (30, 5, 5), 4, 6)
    places = set()
    for row in long_documents.rows(tmp_path / "out" / "train.csv"):
        words = row["text"].split()
        (place,) = [i for i, word in enumerate(words) if word.startswith("rotten_tomatoes-train")]
        assert row["label"] == str(int(words.pop(place).rpartition("-")[2]) % 2)
        assert {int(word.removeprefix("subj-train-")) % 2 for word in words} == {0}
        assert len({*words}) == 4
        places.add(place)
    assert places == {*range(5)}
    few = " ".join(row["text"] for row in long_documents.rows(tmp_path / "few" / "test.csv")).split()
    assert {word for word in few if word.startswith("subj")} == {f"subj-train-{i}" for i in range(0, 12, 2)}
    for name in (*long_documents.READINGS, long_documents.ALONE):
        settings, _ = read_config(composed(*long_documents.overrides(name, 1, tmp_path, 2)))
        assert settings.data.windows == name.startswith("windows")


@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_every_strategy_is_a_run_of_its_name(name: str) -> None:
    _, strategy = read_config(composed("model=bert_linear", *strategies.STRATEGIES[name]))
    assert name in (strategy.name, f"{strategy.name}, BiLSTM")


def test_the_table_of_strategies_has_the_best_on_top(tmp_path: Path) -> None:
    chosen = argparse.Namespace(strategies=["all", "none", "mix"], seeds=[1, 2], runs=tmp_path)
    for name, seed, accuracy in (("all", 1, 0.7), ("all", 2, 0.8), ("none", 1, 0.9)):
        folder = strategies.place(name, seed, tmp_path)
        folder.mkdir()
        result = {
            "metrics": {"test": {"accuracy": accuracy}},
            "parameters": {"trainable": 5, "total": 10},
            "operations": 2e12 * seed,
            "history": [{}] * 5,
            "best": {"epoch": 1 + seed},
            "majority": {"accuracy": 0.6},
        }
        (folder / "result.json").write_text(json.dumps(result))
    lines = strategies.table(chosen).splitlines()[2:]
    assert lines[0] == "| `none` | 5 (50.0%) | 2 of 5 | 2 | 0.900 | 1 |"
    assert lines[1] == "| `all` | 5 (50.0%) | 2 of 5 | 3 | 0.750 ± 0.071 | 2 |"
    assert lines[2:] == ["| the most frequent label | | | | 0.600 | |"]


def test_the_limit_counts_the_products_of_a_forward_pass(tiny_bert: Path) -> None:
    encoder = transformers.AutoModel.from_pretrained(
        tiny_bert, attn_implementation="eager", add_pooling_layer=False
    ).eval()
    cfg = encoder.config
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for length in (7, 19):
            encoder(input_ids=torch.zeros(1, length, dtype=torch.long))
    work = forward_flops(np.array([7, 19]), cfg.num_hidden_layers, cfg.hidden_size, cfg.intermediate_size)
    assert counter.get_total_flops() == work
    assert matmul_flops_per_second(torch.float32, 8, 16) > 0


def test_the_table_says_what_was_measured_and_draws_it(tmp_path: Path) -> None:
    trainer = {"1": {"seconds": 100.0, "accuracy": None}}
    ours = {"seconds": 20.0, "accuracy": 0.75, "limit": 9.0}
    sides = {"trainer": trainer, "float32, empty store": {"1": ours, "2": ours}}
    lines = benchmark.table({"all-linear": sides}).splitlines()
    assert lines[2] == "| all-linear | trainer | 100 |  |  | not trained to the end | 1 |"
    assert lines[3] == "| all-linear | float32, empty store | 20 | 5.0x | 45% | 0.750 | 2 |"
    benchmark.draw({"all-linear": sides}, tmp_path / "train.png")
    assert (tmp_path / "train.png").stat().st_size > 5_000


def test_drawn_models_differ_as_much_as_their_population_says() -> None:
    """One large experiment: 20,000 texts, 40 seeds. The accuracies' own spread moves them by less than a point."""
    right = Population((0.82, 0.78), strategies=0.20, seeds=0.08, spread=0.01).draw(
        40, 20_000, np.random.default_rng(0)
    )[0]
    assert right.mean((1, 2)) == pytest.approx([0.82, 0.78], abs=0.008)
    assert right.mean(2).std(1) == pytest.approx([0.01, 0.01], rel=0.35)  # three standard errors of 40
    assert np.mean(right[:, 0] != right[:, 1]) == pytest.approx(0.08, abs=0.008)
    assert np.mean(right[0] != right[1]) == pytest.approx(0.20, abs=0.01)
    with pytest.raises(ValueError, match="disagree less"):
        Population((0.8, 0.8), strategies=0.05, seeds=0.10, spread=0.01).draw(2, 10, np.random.default_rng(0))


def test_tables_of_coverage_have_a_row_for_each_kind_of_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    tables = (coverage.near_one(8), coverage.other_scores(8), coverage.of_errors(8), coverage.folds(4))
    for rows, count in ((table, 6) for table in tables):
        coverage.table("a table", rows)
        lines = capsys.readouterr().out.strip().splitlines()
        assert len(lines) == 2 + 2 + count
        assert len({line.count("|") for line in lines[2:]}) == 1
    assert coverage.spread([0.94, 0.97]) == "94 to 97%"
    assert coverage.bounds(None) == (-np.inf, np.inf)


def test_spendings_of_a_race_have_five_percent_to_spend() -> None:
    for name, spending in answer.SPENDINGS.items():
        looks = [spending(look, first) for first in (2, 3) for look in range(first, answer.BLOCKS + 1)]
        assert sum(looks) == pytest.approx(0.35 if name == "each look 5%" else 0.10)
        assert min(looks) > 0


@pytest.mark.parametrize(
    ("reason", "above", "goal", "wrong"),
    [
        ("worse", -0.05, "cheapest", False),
        ("worse", -0.01, "cheapest", True),  # at the margin
        ("worse", -0.01, "best", False),
        ("worse", 0.0, "best", True),
        ("dearer", 0.01, "cheapest", False),
        ("dearer", 0.02, "cheapest", True),
    ],
)
def test_an_arm_left_wrongly_if_its_reason_is_not_true(reason: Reason, above: float, goal: Goal, wrong: bool) -> None:
    left = Exit("one", 2, reason, "other")
    assert answer.is_wrong(left, {"one": 0.7 + above, "other": 0.7}, Rules(0.01, goal, 5)) == wrong


def test_races_that_are_replayed_in_another_order_have_the_same_runs() -> None:
    (race, _), *_ = answer.drawn(Population(answer.FIELDS["typical"], 0.16, 0.06, 0.004), 300, 1)
    assert race.end is not None
    runs = Recorded({"one": {block: Ran(np.array([float(block)]), 1.0, 1.0, 0.0) for block in range(3)}})
    turned = answer._reordered(runs, (2, 0, 1))
    assert [turned.arms["one"][block].score for block in range(3)] == [2.0, 0.0, 1.0]


def test_races_after_trials_are_seldom_wrong() -> None:
    wrong = answer.tuned(answer.FIELDS["equal"], answer.TRIALS["every second arm"], STRONG_SEEDS, 200, 30)
    assert wrong <= 6 / 30  # at most 5% each: more in one of 3,000 such tests


def test_generated_rows_are_read_and_their_memory_measured(tmp_path: Path) -> None:
    many_rows.generate(tmp_path, 120)
    assert many_rows.read(tmp_path, "csv") > 0
    tables = [read_table(tmp_path / f"rows.{kind}").columns for kind in ("csv", "parquet")]
    assert tables[0] == tables[1]
    assert len(tables[0]["text"]) == 120
    assert set(tables[0]["label"]) == {*many_rows.LABELS}
    assert {len(text.split()) for text in tables[0]["text"]} <= {*range(many_rows.SHORTEST, many_rows.LONGEST + 1)}
    plan, advise, train = ([*given] for _, *given in list(many_rows.commands(tmp_path).values())[:3])
    composed(*plan)
    composed(*train)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("advise", advise)


MEASURED = """
import pathlib
from benchmarks.rows import measured
for module in ("small", "big"):
    print(*measured([module], pathlib.Path("."))[1:])
"""


def test_the_peak_of_a_command_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("print('small')")
    (tmp_path / "big.py").write_text("print(len(b'x' * (200 << 20)))")
    paths = os.pathsep.join([str(tmp_path), str(CONF.parent)])
    # Not in this process, which is large itself.
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    small, said, big, length = ended.stdout.split()
    assert (said, int(length)) == ("small", 200 << 20)
    assert int(small) < 50e6
    assert 200 << 20 < int(big) < 260e6
