"""Comparisons: groups, rows, verdicts, and the files that are written."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from matplotlib.image import imread
from omegaconf import OmegaConf
from scipy import stats

from src.comparison import plots
from src.comparison.comparison import compare, cost_of, with_lost
from src.comparison.differences import flips
from src.comparison.pages import write_comparison
from src.comparison.tables import FORMATS, write
from src.errors import UserError
from src.grouping.comparable import check_comparable, differing_settings
from src.grouping.groups import best_of, group
from src.grouping.runs import Run, read_lost, read_runs
from src.pages.html import save
from src.runs.folder import RunFolder
from src.statistics.intervals import Interval
from src.sweeps.multirun import Multirun
from tests.conftest import composed

Make = Callable[..., RunFolder]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """A run folder with a result of a given accuracy; None leaves a run that failed."""

    def make(
        *overrides: str,
        accuracy: float | None = 0.8,
        seed: int = 1,
        seconds: float = 100.0,
        encoding: float = 0.0,
        objective: str = "binary",
        right: Sequence[bool] | None = None,
        validated: Sequence[bool] | None = None,
    ) -> RunFolder:
        folder = RunFolder(tmp_path / "sweep" / str(len(list(tmp_path.glob("sweep/*")))))
        folder.claim(composed(*overrides, f"seed={seed}"))
        if accuracy is None:
            folder.write_status("failed", error="RuntimeError: out of luck")
            return folder
        scores = {"accuracy": accuracy, "loss": 1 - accuracy}
        scores |= {"perplexity": 9.0} if objective == "mlm" else {"f1_macro": accuracy}
        result = {
            "format": 1,
            "objective": objective,
            "labels": [] if objective == "mlm" else ["no", "yes"],
            "metrics": {"validation": scores.copy(), "test": scores.copy()},
            "parameters": {"trainable": 10, "total": 40},
            "seconds": {"fit": seconds / 2, "encode": encoding, "total": seconds + encoding},
            "history": [{}, {}],
            "peak_memory_bytes": 2_000_000_000,
            "environment": {"gpu": None, "device": "cpu"},
            "seed": seed,
        }
        for split, hits in (("test", right), ("validation", validated)):
            if hits is not None:
                predict(folder, hits, split)
                result["metrics"][split] |= {"accuracy": float(np.mean(hits))}
        folder.write_json("result.json", result)
        return folder

    return make


def predict(folder: RunFolder, right: Sequence[bool], split: str = "test") -> None:
    """Writes predictions of which these are right."""
    rows = range(len(right))
    true = ["yes" if row % 2 else "no" for row in rows]
    predicted = [name if hit else {"yes": "no", "no": "yes"}[name] for name, hit in zip(true, right, strict=True)]
    table = {"row": list(rows), "text": [f"text {row}" for row in rows], "true": true, "predicted": predicted}
    table["probabilities"] = [[0.9, 0.1] if name == "no" else [0.1, 0.9] for name in predicted]
    pyarrow.parquet.write_table(pyarrow.table(table), folder.file("predictions", f"{split}.parquet"))


def learned(share: float, texts: int = 1000, seed: int = 0, noise: float = 0.05) -> list[bool]:
    """Which texts a model of that accuracy predicts correctly: the easy ones, apart from its seed's noise."""
    ease = np.random.default_rng(1).random(texts)
    return list(ease + np.random.default_rng(seed).normal(scale=noise, size=texts) > 1 - share)


def runs(folder: RunFolder) -> list[Run]:
    return read_runs(folder.path.parent)


def test_groups_differ_in_what_their_columns_say(made: Make) -> None:
    for seed in (1, 2):
        made("freeze=all", "optimizer.lr=1e-4", seed=seed)
        made("freeze=none", "optimizer.lr=1e-4", seed=seed)
        last = made("freeze=none", "model=bert_linear", "optimizer.lr=1e-5", seed=seed)
    groups = group(runs(last))
    assert [g.label for g in groups] == [
        {"strategy": "all", "model": "BiLSTMHead", "optimizer.lr": "0.0001"},
        {"strategy": "none", "model": "BiLSTMHead", "optimizer.lr": "0.0001"},
        {"strategy": "none", "model": "LinearHead", "optimizer.lr": "1e-05"},
    ]
    assert [g.name for g in groups] == ["all", "none (BiLSTMHead, 0.0001)", "none (LinearHead, 1e-05)"]
    assert all([run.seed for run in g.finished] == [1, 2] for g in groups)


def test_sections_that_build_the_same_are_told_apart_by_their_values(made: Make) -> None:
    for seed in (1, 2):
        made("model.hidden_size=32", seed=seed)
        made("model.hidden_size=64", seed=seed)
        last = made("model=bert_linear", seed=seed)
    found = [(g.label["model"], g.label["model.hidden_size"]) for g in group(runs(last))]
    assert found == [("BiLSTMHead", "32"), ("BiLSTMHead", "64"), ("LinearHead", "-")]


def test_pretrainings_with_the_same_settings_are_one_group(made: Make, tmp_path: Path) -> None:
    for seed in (1, 2):
        for share in ("0.15", "0.4"):
            first = RunFolder(tmp_path / "pretrained" / f"{share}_{seed}")
            masks = f"model.masking.probability={share}"
            first.claim(composed("model=bert_mlm", "backbone=scratch", masks, f"seed={seed}"))
            made("backbone=run", f"backbone.run={first.path}", "optimizer.lr=1e-4", seed=seed)
        last = made("backbone=scratch", "optimizer.lr=1e-4", seed=seed)
    column = "backbone.run.model.masking.probability"
    groups = group(runs(last))
    assert [g.label for g in groups] == [
        {"strategy": "all", "backbone": "run", column: "0.15"},
        {"strategy": "all", "backbone": "run", column: "0.4"},
        {"strategy": "all", "backbone": "scratch", column: "-"},
    ]
    assert all([run.seed for run in g.finished] == [1, 2] for g in groups)
    shutil.rmtree(tmp_path / "pretrained")
    assert len(group(runs(last))) == 5  # without their configs, no two pretrainings are known to be the same


def test_pretrain_then_classify_runs_are_compared_with_runs_without_pretraining(made: Make) -> None:
    for seed in (1, 2):
        run = made("experiment=mlm_then_classify", seed=seed)
        first = run.path / "pretrain"
        first.mkdir()
        (first / "result.json").write_bytes((run.path / "result.json").read_bytes())
        last = made("experiment=mlm_then_classify", "pretrain=null", seed=seed, accuracy=0.7)
    groups = group(runs(last))
    assert [g.label for g in groups] == [
        {"strategy": "none", "pretrain": "mlm first"},
        {"strategy": "none", "pretrain": "no mlm"},
    ]
    found = compare(groups, "accuracy", "no mlm", 0.01)
    assert (found.baseline, found.rows[0].name) == ("none (no mlm)", "none (mlm first)")
    assert found.rows[0].seconds == pytest.approx(200)  # of both stages


@pytest.mark.rare
def test_memory_is_that_of_the_gpu_where_runs_had_one(made: Make) -> None:
    for seed in (1, 2, 3):
        made("freeze=all", seed=seed)
        last = made("freeze=none", seed=seed)
    for run in runs(last):
        assert run.result is not None
        peak = 7_000 if run.strategy == "none" else 3_000
        run.folder.write_json("result.json", {**run.result, "peak_gpu_memory_bytes": peak})
    assert {row.name: row.memory for row in compare(group(runs(last)), "accuracy", None, 0.01).rows} == {
        "none": 7_000,
        "all": 3_000,
    }
    assert [cost_of([run], "memory") for run in runs(last)] == [3_000, 7_000] * 3


def test_no_column_of_the_csv_is_lost(made: Make) -> None:
    made("optimizer=adamw", "optimizer.lr=1e-4")
    made("optimizer=adamw", "optimizer.lr=1e-5")
    last = made("optimizer=sgd", "optimizer.lr=1e-4")
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    columns = FORMATS["csv"](found).splitlines()[0].split(",")
    assert {f"label.{key}" for key in found.rows[0].label} <= {*columns}
    assert {"label.optimizer", "label.optimizer.lr"} <= {*columns}


def test_any_order_of_the_runs_gives_the_same_bytes(made: Make) -> None:
    for seed in range(1, 7):
        made("freeze=all", accuracy=0.7 + seed / 100, seed=seed)
        last = made("freeze=none", accuracy=0.8 + seed / 200, seed=seed)
    found, texts = runs(last), []
    for shuffle in range(3):
        random.Random(shuffle).shuffle(found)
        comparison = compare(group(found), "accuracy", None, 0.01)
        texts.append([render(comparison) for render in FORMATS.values()])
    assert texts[0] == texts[1] == texts[2]


def test_failed_runs_are_listed_and_missing_seeds_named(made: Make) -> None:
    made("freeze=all", seed=1)
    made("freeze=all", accuracy=None, seed=2)
    made("freeze=none", seed=1)
    last = made("freeze=none", seed=2)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    (problem,) = comparison.problems
    assert (problem["group"], problem["seed"], problem["problem"]) == ("all", "2", "RuntimeError: out of luck")
    assert {row.name: row.missing for row in comparison.rows} == {"all": [2], "none": []}
    text = FORMATS["md"](comparison)
    assert "1 (without 2)" in text
    assert "- all, seed 2: RuntimeError: out of luck" in text


@pytest.mark.parametrize(
    ("change", "known"),
    [
        (("seed: 2", "seed: a"), ("all", "a")),
        (("repeat: 0", "repeat: x"), ("all", "2")),
        (("seed", "]"), ("unknown strategy", "unknown")),
    ],
    ids=["seed", "repeat", "damaged"],
)
def test_a_failed_run_costs_only_itself_whatever_its_config_holds(
    made: Make, change: tuple[str, str], known: tuple[str, str]
) -> None:
    for seed in (1, 3):
        made("freeze=all", seed=seed)
    lost = made("freeze=all", accuracy=None, seed=2)
    config = lost.path / "config.yaml"
    config.write_text(config.read_text().replace(*change))
    root = lost.path.parent
    found = with_lost(compare(group(read_runs(root)), "accuracy", None, 0.01), read_lost(root))
    assert [row.name for row in found.rows] == ["all"]
    (problem,) = found.problems
    assert (problem["group"], problem["seed"]) == known
    assert (problem["run"], problem["problem"]) == (str(lost.path), "RuntimeError: out of luck")
    assert "1 more run has no result and no valid config." in found.sentence


def test_a_result_that_cannot_be_read_is_no_run_that_has_finished(made: Make) -> None:
    last = made()
    last.write_status("finished")
    last.file("result.json").write_text("{")
    with pytest.raises(UserError, match=r"None of these runs has finished:\n.*result\.json must .* it cannot be read"):
        compare(group(runs(last)), "accuracy", None, 0.01)


def test_runs_that_have_all_failed_are_named_whatever_their_configs_hold(made: Make) -> None:
    lost = made("freeze=all", accuracy=None)
    (lost.path / "config.yaml").write_text("]")
    with pytest.raises(UserError, match=r"None of these runs has finished:\n.*0: RuntimeError: out of luck"):
        read_runs(lost.path.parent)


@pytest.mark.rare
def test_without_predictions_five_seeds_are_only_described_and_six_get_a_verdict(made: Make) -> None:
    noise = np.random.default_rng(0).normal(scale=0.002, size=6)
    for seed in range(1, 6):
        made("freeze=none", accuracy=0.85 + noise[seed], seed=seed)
        last = made("freeze=all", accuracy=0.80, seed=seed, seconds=20)
    few = compare(group(runs(last)), "accuracy", None, 0.01)
    assert few.baseline == "none"
    assert {row.name: row.verdict for row in few.rows} == {"none": "baseline", "all": "descriptive only: 5 of 6 seeds"}
    assert few.decision.candidates == ["none", "all"]
    assert f"Add seeds: the same command with seed=6 hydra.sweep.dir={last.path.parent}." in few.sentence
    assert few.rows[1].time_ratio == pytest.approx(0.2)
    made("freeze=none", accuracy=0.85 + noise[0], seed=6)
    last = made("freeze=all", accuracy=0.80, seed=6, seconds=20)
    enough = compare(group(runs(last)), "accuracy", None, 0.01)
    assert enough.rows[1].verdict == "inferior"
    assert enough.rows[1].seeds_p == pytest.approx(2 / 64)
    assert enough.rows[1].evidence == "seeds"
    assert "It is said of these test texts" in enough.sentence
    turned = compare(group(runs(last)), "accuracy", "all", 0.01)
    assert turned.rows[0].verdict == "superior"
    assert turned.sentence.startswith("Choose none (25.0% of the weights train): test accuracy 0.85")


def test_three_seeds_decide_what_many_texts_show(made: Make) -> None:
    for seed in (1, 2, 3):
        made("freeze=none", right=learned(0.82, seed=seed), seed=seed)
        last = made("freeze=all", right=learned(0.74, seed=10 + seed), seed=seed, seconds=10)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    none, frozen = comparison.rows
    assert (none.evidence, frozen.evidence, frozen.verdict) == (None, "seeds and texts", "inferior")
    assert comparison.decision.candidates == ["none"]
    assert frozen.loss is not None
    assert 0.07 < frozen.loss < 0.12
    assert comparison.sentence.startswith("Choose none")
    assert "It is the best (100 s a run). Worse than none: all by 0.0" in comparison.sentence
    assert comparison.plan is None


def test_few_texts_do_not_decide_however_many_seeds_agree(made: Make) -> None:
    """Nine seeds in which the same two of thirty texts differ say nothing of other texts."""
    for seed in range(1, 10):
        right = [True] * 24 + [False] * 6
        made("freeze=none", right=right, seed=seed)
        last = made("freeze=all", right=[False, False, *right[2:]], seed=seed, seconds=10)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    row = comparison.rows[1]
    assert row.seeds_p == pytest.approx(2 / 2**9)  # what seeds alone would have claimed
    assert row.verdict == "inconclusive"
    assert not comparison.decision.sure
    assert "Not settled" in comparison.sentence
    assert "More seeds will not settle it: about" in comparison.sentence


def test_the_cheapest_of_those_that_are_as_good_is_chosen(made: Make) -> None:
    for seed in (1, 2, 3):
        made("freeze=none", right=learned(0.8, 4000, seed), seed=seed, seconds=100)
        made("freeze=embeddings", right=learned(0.8, 4000, 10 + seed), seed=seed, seconds=60)
        last = made("freeze=all", right=learned(0.7, 4000, 20 + seed), seed=seed, seconds=10)
    comparison = compare(group(runs(last)), "accuracy", None, 0.03)
    assert comparison.decision.chosen == "embeddings"
    assert comparison.decision.sure
    assert sorted(comparison.decision.candidates) == ["embeddings", "none"]
    assert "It is the cheapest (60 s a run) that is shown to be at most 0.03 below the best." in comparison.sentence
    assert compare(group(runs(last)), "accuracy", None, 0.2).decision.chosen == "all"


def test_validation_chooses_and_test_reports(made: Make) -> None:
    for seed in (1, 2, 3):
        better, worse = learned(0.85, 2000, seed), learned(0.75, 2000, 10 + seed)
        made("freeze=none", right=better, validated=worse, seed=seed)
        last = made("freeze=all", right=worse, validated=better, seed=seed)
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    assert [row.name for row in found.rows] == ["all", "none"]
    assert (found.chooser, found.decision.chosen, found.decision.worse) == ("validation", "all", ["none"])
    assert found.rows[0].validation == pytest.approx(0.85, abs=0.02)
    assert found.rows[0].verdict == "inferior"  # to the baseline, on test texts
    assert "test accuracy 0.75" in found.sentence
    assert "It is the best in validation accuracy (100 s a run). Worse than all in validation: none" in found.sentence
    assert "Test scores had no part in the choice." in found.sentence
    shown = FORMATS["md"](found)
    assert "| validation accuracy | below best | test accuracy" in shown
    (runs(last)[0].folder.path / "predictions" / "validation.parquet").unlink()
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    assert (found.chooser, found.decision.chosen) == ("test", "none")
    assert "The test scores chose, since not all runs have predictions of their validation texts." in found.sentence


def test_the_run_that_comes_first_does_not_pay_for_the_store_of_all(made: Make) -> None:
    for seed in (1, 2, 3):
        first = 500.0 if seed == 1 else 0.0
        made("freeze=all", right=learned(0.8, 4000, seed), seed=seed, seconds=10, encoding=first)
        last = made("freeze=mix", right=learned(0.8, 4000, 10 + seed), seed=seed, seconds=20)
    comparison = compare(group(runs(last)), "accuracy", "mix", 0.1)
    row = next(row for row in comparison.rows if row.name == "all")
    assert (row.seconds, row.encoding_seconds, row.time_ratio) == (10, 500, pytest.approx(0.5))
    assert comparison.decision.chosen == "all"
    assert re.search(r"\| all \|.* 10 s \| 0\.50 .*\| 500 s \|", FORMATS["md"](comparison))


def test_an_open_question_says_how_many_seeds_would_settle_it(made: Make) -> None:
    for seed, gain in ((1, 0.0), (2, 0.02), (3, 0.04)):
        made("freeze=none", right=learned(0.75 + gain, 5000, seed), seed=seed)
        last = made("freeze=all", right=learned(0.75, 5000, 10 + seed), seed=seed, seconds=60)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    plan = comparison.plan
    assert plan is not None
    assert plan.seeds is not None
    assert plan.seeds > 3
    assert plan.runs == 2 * (plan.seeds - 3)
    assert plan.seconds == (plan.seeds - 3) * 160
    assert f"settle it: {plan.runs} runs more, of none and all up to {plan.seeds} seeds" in comparison.sentence


def test_what_would_settle_it_is_the_runs_that_the_command_adds(made: Make) -> None:
    for seed, gain in enumerate((0.0, 0.02, 0.04, 0.0, 0.03, 0.01), start=1):
        made("freeze=none", right=learned(0.75 + gain, 5000, seed), seed=seed)
        if seed <= 3:
            last = made("freeze=all", right=learned(0.75, 5000, 10 + seed), seed=seed, seconds=60)
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    assert "settle it: 3 runs more, of none and all up to 6 seeds, about 3 minutes (" in found.sentence
    assert "the same command with seed=4,5,6 " in found.sentence


def test_groups_that_share_few_seeds_with_each_other_are_named(made: Make) -> None:
    for seed in range(1, 7):
        last = made("freeze=none", right=learned(0.7, 3000, seed), seed=seed)
        if seed <= 4:
            made("freeze=all", right=learned(0.8, 3000, 10 + seed), seed=seed)
        if seed >= 3:
            made("freeze=bottom", right=learned(0.75, 3000, 30 + seed), seed=seed)
    sentence = compare(group(runs(last)), "accuracy", None, 0.01).sentence
    assert "Worse than all: bottom:4" in sentence
    assert "not of their strategies, where two share fewer than three seeds: all and bottom:4." in sentence


def test_near_copies_of_a_text_count_once(made: Make) -> None:
    for seed in (1, 2, 3):
        right = learned(0.8, 60, seed)
        made("freeze=none", right=right, seed=seed)
        last = made("freeze=all", right=learned(0.7, 60, 10 + seed), seed=seed)
    once = compare(group(runs(last)), "accuracy", None, 0.01).rows[1]
    for run in runs(last):
        file = run.folder.path / "predictions" / "test.parquet"
        table = pyarrow.parquet.read_table(file)
        pyarrow.parquet.write_table(pyarrow.concat_tables([table, table]), file)
    twice = compare(group(runs(last)), "accuracy", None, 0.01).rows[1]
    assert twice.difference_interval == once.difference_interval


def test_a_group_is_called_worse_than_the_one_that_shows_it(made: Make) -> None:
    """The best by its mean differs from one text to the next by seed, so that it shows nothing."""
    drawn = np.random.default_rng(0)
    for seed in (1, 2, 3):
        made("freeze=none", right=list(drawn.random(300) < 0.84), seed=seed)
        base = learned(0.80, 300, seed)
        made("freeze=embeddings", right=base, seed=seed)
        lost = np.array(base)
        lost[np.flatnonzero(lost)[:12]] = False
        last = made("freeze=all", right=list(lost), seed=seed)
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    assert found.rows[0].name == "none"
    assert (found.decision.candidates, found.decision.worse) == (["none", "embeddings"], ["all"])
    assert "Worse than embeddings: all by 0.040 [0.0" in found.sentence


def test_the_best_by_validation_is_not_called_the_best_by_test(made: Make) -> None:
    made("freeze=none", right=[False], validated=[True])  # nothing can be estimated from a single text
    last = made("freeze=all", right=[True], validated=[False])
    sentence = compare(group(runs(last)), "accuracy", None, 0.01).sentence
    assert "has the best validation accuracy; its test accuracy is 0.000 with 1 seed, but" in sentence


def test_groups_that_are_not_trained_to_the_end_get_no_verdict(made: Make) -> None:
    losses = [{"epoch": n, "step": 19 * n, "train/loss": 1.0 - n / 10, "validation/loss": 0.9} for n in (1, 2)]
    for seed in (1, 2, 3):
        made("freeze=none", right=learned(0.82, seed=seed), seed=seed)
        last = made("freeze=all", right=learned(0.6, seed=10 + seed), seed=seed)
        last.write_json("result.json", last.read_result() | {"history": losses, "best": {"epoch": 2}})
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert [row.verdict for row in comparison.rows] == ["baseline", "not trained to the end"]
    assert comparison.sentence.startswith("all was not trained to the end: the last epoch was the best")
    assert "try trainer.max_epochs=22" in comparison.sentence
    assert "Only none (25.0% of the weights train) was trained to the end" in comparison.sentence
    longer = [entry | {"step": 10 * entry["step"]} for entry in losses]
    for run in runs(last):
        if run.strategy == "all":
            run.folder.write_json("result.json", run.folder.read_result() | {"history": longer})
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    assert found.rows[1].verdict == "inferior"
    assert "At this budget: all was still improving after 2 epochs." in found.sentence
    once = {"history": [{"epoch": 1, "step": 400, "train/loss": 0.9, "validation/loss": 0.9}], "best": {"epoch": 1}}
    for run in runs(last):
        if run.strategy == "none":
            run.folder.write_json("result.json", run.folder.read_result() | once)
    found = compare(group(runs(last)), "accuracy", None, 0.01)
    assert "At this budget: none and all were still improving after 1 to 2 epochs." in found.sentence


def test_one_seed_or_equal_scores_have_no_interval(made: Make) -> None:
    made("freeze=none", accuracy=0.9)
    last = made("freeze=all", accuracy=0.8)
    row = compare(group(runs(last)), "accuracy", None, 0.01).rows[1]
    assert row.intervals == {"accuracy": None, "f1_macro": None}
    assert row.time_interval is None
    assert row.difference_interval is None
    assert row.difference == pytest.approx(-0.1)
    assert row.p is None
    assert "n/a" in FORMATS["md"](compare(group(runs(last)), "accuracy", None, 0.01))


def test_the_one_seed_of_an_identical_group_keeps_none_of_the_others_from_being_chosen(made: Make) -> None:
    for seed, share in ((1, 0.9), (2, 0.7), (3, 0.7)):
        made("freeze=all", right=learned(share, 200, seed), seed=seed, seconds=10)
        made("freeze=none", right=learned(0.75, 200, 10 + seed), seed=seed, seconds=50)
    last = made("freeze=bottom", right=learned(0.9, 200, 1), seed=1, seconds=20)  # as all, where both have run
    found = compare(group(runs(last)), "accuracy", None, 0.01).decision
    assert (found.identical, found.sure, found.chosen) == ({"bottom:4": "all"}, False, "all")


@pytest.mark.rare
def test_groups_that_predict_the_same_are_identical_and_the_cheaper_one_stands_for_both(made: Make) -> None:
    for seed in (1, 2, 3):
        right = learned(0.8, seed=seed)
        made("freeze=all", "optimizer.lr=1e-4", right=right, seed=seed, seconds=20)
        made("freeze=all", "optimizer.lr=1e-5", right=right, seed=seed, seconds=10)
        last = made("freeze=all", "optimizer.lr=1e-3", right=learned(0.7, seed=10 + seed), seed=seed)
    comparison = compare(group(runs(last)), "accuracy", "0.0001", 0.01)
    verdicts = {row.label["optimizer.lr"]: row.verdict for row in comparison.rows}
    assert verdicts == {"0.0001": "baseline", "1e-05": "identical", "0.001": "inferior"}
    cheap, dear = "all (1e-05)", "all (0.0001)"
    assert comparison.decision.identical == {dear: cheap}
    assert (comparison.decision.chosen, comparison.decision.candidates) == (cheap, [cheap])
    assert f"{dear} predicts the same as {cheap} for every test text with every seed" in comparison.sentence
    assert f"Choose {cheap[:-1]}; 25.0% of the weights train): test accuracy 0.8" in comparison.sentence


def test_only_two_identical_groups_leave_the_cheaper_one(made: Make) -> None:
    right = learned(0.8)
    made("freeze=none", right=right, seconds=20)
    last = made("freeze=all", right=right, seconds=10)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert {row.name: row.verdict for row in comparison.rows} == {"none": "baseline", "all": "identical"}
    assert "Choose all (25.0% of the weights train): test accuracy" in comparison.sentence
    other = made("freeze=all", right=[not right[0], not right[1], *right[2:]], seed=2)
    made("freeze=none", right=right, seed=2)
    assert compare(group(runs(other)), "accuracy", None, 0.01).rows[1].verdict != "identical"


def test_predictions_give_intervals_over_test_texts(made: Make) -> None:
    drawn, shares = np.random.default_rng(1), {"none": 0.9, "all": 0.7}
    hits = {(name, seed): drawn.random(300) < share for name, share in shares.items() for seed in (1, 2)}
    for (strategy, seed), right in hits.items():
        last = made(f"freeze={strategy}", seed=seed, right=list(right))
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    row = comparison.rows[1]
    assert row.difference_interval is not None
    assert row.difference_interval.low < -0.2 < row.difference_interval.high < 0
    for seed in (1, 2):
        mine, theirs = hits["all", seed], hits["none", seed]
        only = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        assert row.texts_p[str(seed)] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    columns = FORMATS["csv"](comparison).splitlines()[0].split(",")
    assert {"texts_p.2", "difference_interval.low"} <= {*columns}
    assert "difference_interval" not in columns  # of the baseline, which has none


def test_a_run_without_predictions_is_named(made: Make) -> None:
    for seed in (1, 2, 3):
        made("freeze=none", right=learned(0.8, seed=seed), seed=seed)
        last = made("freeze=all", right=learned(0.7, seed=10 + seed), seed=seed)
    whole = compare(group(runs(last)), "accuracy", None, 0.01)
    assert "no predictions" not in whole.sentence
    (last.path / "predictions" / "test.parquet").unlink()
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert comparison.rows[1].evidence == "seeds"
    assert f"since there are no predictions of the same test texts in {last.path}." in comparison.sentence


def test_one_run_has_the_interval_of_its_texts(made: Make) -> None:
    made("freeze=none")
    last = made("freeze=all", right=[True] * 30 + [False] * 10)
    row = next(row for row in compare(group(runs(last)), "accuracy", None, 0.01).rows if row.name == "all")
    low, high = stats.binomtest(30, 40).proportion_ci(method="wilson")
    assert row.intervals["accuracy"] == Interval(0.75, low, high)
    assert row.better == 0
    assert row.better_interval is None


def test_one_run_whose_texts_are_copies_has_the_interval_of_its_units(made: Make) -> None:
    made("freeze=none")
    last = made("freeze=all", right=[True] * 30 + [False] * 10)
    file = last.path / "predictions" / "test.parquet"
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(pyarrow.concat_tables([table] * 9), file)
    row = next(row for row in compare(group(runs(last)), "accuracy", None, 0.01).rows if row.name == "all")
    found, half = row.intervals["accuracy"], stats.t.ppf(0.975, 39) * stats.sem([1] * 30 + [0] * 10)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half))
    predict(last, [True] * 40)
    last.write_json("result.json", last.read_result() | {"metrics": dict.fromkeys(("validation", "test"), RIGHT)})
    table = pyarrow.parquet.read_table(file)
    pyarrow.parquet.write_table(pyarrow.concat_tables([table] * 9), file)
    row = next(row for row in compare(group(runs(last)), "accuracy", None, 0.01).rows if row.name == "all")
    low, high = stats.binomtest(40, 40).proportion_ci(method="wilson")
    assert row.intervals["accuracy"] == Interval(1.0, low, high)


RIGHT = {"accuracy": 1.0, "f1_macro": 1.0, "loss": 0.0}


def test_texts_with_several_labels_are_right_if_all_of_them_are(made: Make) -> None:
    true, labels = [["no"], ["yes"], ["no", "yes"], []] * 10, ["no", "yes", "so"]
    for strategy, said in (("none", true), ("all", [["no"]] * 40)):
        last = made(f"freeze={strategy}", objective="multilabel")
        rows = {"row": list(range(40)), "text": [f"text {row}" for row in range(40)]}
        table = {**rows, "true": true, "predicted": said, "probabilities": [[0.9, 0.1, 0.1]] * 40}
        pyarrow.parquet.write_table(pyarrow.table(table), last.file("predictions", "test.parquet"))
        right = [np.mean([(label in t) == (label in s) for label in labels]) for t, s in zip(true, said, strict=True)]
        scores = {"accuracy": float(np.mean(right)), "f1_macro": 0.5}
        more = {"labels": labels, "thresholds": dict.fromkeys(labels, 0.5)}
        more["metrics"] = dict.fromkeys(("validation", "test"), scores)
        last.write_json("result.json", json.loads((last.path / "result.json").read_text()) | more)
    rows = {row.name: row for row in compare(group(runs(last)), "accuracy", None, 0.01).rows}
    assert rows["all"].texts_p["1"] == pytest.approx(2 * 0.5**30)  # 30 texts have a wrong label, 20 of them one
    found, half = rows["all"].intervals["accuracy"], stats.t.ppf(0.975, 39) * stats.sem(right)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((2 / 3 - half, 2 / 3 + half))


def test_one_seed_speaks_of_these_models(made: Make) -> None:
    made("freeze=none", right=learned(0.9))
    last = made("freeze=all", right=learned(0.7, seed=1))
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert comparison.rows[1].evidence == "texts"
    assert comparison.rows[1].verdict == "inferior"
    assert (
        "With fewer than three seeds it is said of these trained models, not of their strategies."
        in comparison.sentence
    )


def test_two_seeds_speak_of_these_models_too(made: Make) -> None:
    for seed in (1, 2):
        made("freeze=none", right=learned(0.9, seed=seed), seed=seed)
        last = made("freeze=all", right=learned(0.7, seed=10 + seed), seed=seed)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    row = comparison.rows[1]
    assert (row.evidence, row.pairs, row.verdict) == ("texts", 2, "inferior")
    assert "With fewer than three seeds it is said of these trained models" in comparison.sentence
    turned = [np.mean([learned(share, seed=s) for s in seeds], 0) for share, seeds in ((0.7, (11, 12)), (0.9, (1, 2)))]
    found = stats.ttest_rel(*turned).confidence_interval(0.95)
    assert row.difference_interval is not None
    assert (row.difference_interval.low, row.difference_interval.high) == pytest.approx((found.low, found.high))


def test_masked_language_models_are_compared_by_their_own_scores(made: Make) -> None:
    made("model=bert_mlm", "freeze=none", objective="mlm")
    last = made("model=bert_mlm", "freeze=embeddings", objective="mlm", accuracy=0.3)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert [row.name for row in comparison.rows] == ["none", "embeddings"]
    with pytest.raises(UserError, match="metric must be a test score that all runs have"):
        compare(group(runs(last)), "f1_macro", None, 0.01)


@pytest.mark.parametrize("metric", ["loss", "auroc"])
def test_a_score_that_cannot_decide_is_refused(made: Make, metric: str) -> None:
    """A loss is better when lower; a score that is undefined, such as of a label without examples, is null."""
    made("freeze=none")
    last = made("freeze=all")
    result = last.read_result()
    result["metrics"]["test"] |= {"auroc": None}
    (last.path / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match="that all runs have, and no loss; got"):
        compare(group(runs(last)), metric, None, 0.01)


def test_a_group_alone_is_not_called_the_best(made: Make) -> None:
    made(accuracy=None, seed=2)
    sentence = compare(group(runs(made(accuracy=0.8))), "accuracy", None, 0.01).sentence
    assert "highest" not in sentence
    assert "There is no other group to compare it with. 1 of 2 runs have no result." in sentence


def test_groups_without_a_common_seed_have_no_difference(made: Make) -> None:
    made("freeze=none", accuracy=0.7, seed=1)
    groups = group(runs(made("freeze=all", accuracy=0.8, seed=2)))
    comparison = compare(groups, "accuracy", None, 0.01)
    assert [row.difference for row in comparison.rows] == [None, None]
    assert not comparison.decision.sure
    assert "these runs do not say how far the differences can be trusted" in comparison.sentence


def test_the_sentence_says_in_words_what_the_verdict_means(made: Make) -> None:
    noise = np.random.default_rng(0).normal(scale=0.001, size=6)
    for seed in range(1, 7):
        made("freeze=none", accuracy=0.85 + noise[seed - 1], seed=seed)
        made("freeze=embeddings", accuracy=0.849, seed=seed, seconds=20)
        last = made("freeze=all", accuracy=0.80, seed=seed, seconds=10)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert [row.verdict for row in comparison.rows] == ["baseline", "non-inferior", "inferior"]
    assert "Choose embeddings (25.0% of the weights train): test accuracy 0.849" in comparison.sentence
    assert "Worse than none: embeddings by 0.001 [0.001, 0.002], all by 0.050 [0.050, 0.051]." in comparison.sentence


def test_trainable_parameters_are_averaged_over_seeds_that_reached_different_phases(made: Make) -> None:
    for seed, trained in ((1, 40), (2, 10)):
        last = made("freeze=gradual", seed=seed)
        last.write_json("result.json", {**last.read_result(), "parameters": {"trainable": trained, "total": 40}})
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    assert [(row.trainable, row.share) for row in comparison.rows] == [(25, 0.625)]
    assert "gradual:1 (62.5% of the weights train)" in comparison.sentence


def test_a_text_flips_only_where_most_runs_agree(made: Make) -> None:
    for seed, mine in ((1, ["b", "b"]), (2, ["a", "b"])):
        for strategy, said in (("none", ["a", "a"]), ("all", mine)):
            last = made(f"freeze={strategy}", seed=seed)
            table = pyarrow.table({"row": [1, 2], "text": ["x", "y"], "true": ["a", "a"], "predicted": said})
            pyarrow.parquet.write_table(table, last.file("predictions", "test.parquet"))
    mine, theirs = group(runs(last))
    assert [flip.row for flip in flips(mine, theirs)] == [2]


def test_pairs_are_shown_and_counted_as_pairs(made: Make) -> None:
    texts = {"row": [1, 2, 3], "text": ["x", "x", "x"], "text_pair": ["y", "Y!", "z"], "true": ["a", "a", "a"]}
    for strategy, said in (("none", ["b", "b", "b"]), ("all", ["b", "b", "a"])):
        last = made(f"freeze={strategy}", seed=1)
        table = pyarrow.table({**texts, "predicted": said})
        pyarrow.parquet.write_table(table, last.file("predictions", "test.parquet"))
    mine, theirs = group(runs(last))
    assert [flip.text for flip in flips(mine, theirs)] == ["x ⏎ z"]
    (run,) = mine.runs
    assert run.predictions("text") == {"text": [("x", "y"), ("x", "Y!"), ("x", "z")]}


def test_long_names_leave_room_for_the_plots(made: Make, recwarn: pytest.WarningsRecorder) -> None:
    stages = ",".join(f"encoder.layer.{number}.attention" for number in range(9))
    made("freeze=pattern", f"freeze.frozen=[{stages}]")
    last = made("freeze=none")
    groups = group(runs(last))
    comparison = compare(groups, "accuracy", None, 0.01)
    for number, figure in enumerate(
        (plots.slopes(groups, "accuracy"), plots.tradeoffs(comparison.rows, "accuracy", None))
    ):
        save(figure, last.path, str(number))
    assert not [warning for warning in recwarn if "layout" in str(warning.message)]


def test_numbers_of_parameters_that_hardly_differ_have_an_axis_with_numbers(made: Make) -> None:
    made("freeze=mix")
    last = made("freeze=all")
    rows = compare(group(runs(last)), "accuracy", None, 0.01).rows
    for parameters, wanted in ((1163, "linear"), (100_000, "log")):
        figure = plots.tradeoffs(
            [replace(rows[0], trainable=1155), replace(rows[1], trainable=parameters)], "accuracy", None
        )
        save(figure, last.path, wanted)
        axis = figure.axes[0].xaxis
        assert axis.get_scale() == wanted
        low, high = axis.get_view_interval()
        assert [label for label in axis.get_ticklabels() if low <= label.get_position()[0] <= high and label.get_text()]


def test_files_hold_the_numbers(made: Make) -> None:
    made("freeze=pattern", "freeze.frozen=[layer.0,layer.1]", accuracy=0.6)
    last = made("freeze=none", accuracy=0.7)
    comparison = compare(group(runs(last)), "accuracy", None, 0.01)
    rows = list(csv.DictReader(FORMATS["csv"](comparison).splitlines()))
    assert [float(row["scores.accuracy"]) for row in rows] == [0.7, 0.6]
    assert rows[1]["name"] == "pattern:layer.0|layer.1"
    assert json.loads(FORMATS["json"](comparison))["rows"][1]["difference"] == pytest.approx(-0.1)
    assert "pattern:layer.0\\|layer.1" in FORMATS["md"](comparison)


def test_each_strategy_is_compared_at_its_best_learning_rate_by_validation(made: Make) -> None:
    for seed in (1, 2):
        for rate, accuracies in (("1e-5", (0.6, 0.8)), ("1e-4", (0.9, 0.7))):
            for strategy, accuracy in zip(("all", "none"), accuracies, strict=True):
                last = made(f"freeze={strategy}", f"optimizer.lr={rate}", accuracy=accuracy, seed=seed)
    made("freeze=none", "optimizer.lr=1e-4", accuracy=None, seed=3)
    groups = best_of(group(runs(last)), "freeze")
    comparison = compare(groups, "accuracy", None, 0.01)
    rows = [(row.name, row.label["optimizer.lr"], row.scores["accuracy"]) for row in comparison.rows]
    assert rows == [("all", "0.0001", 0.9), ("none", "1e-05", 0.8)]
    assert "its trial with the best validation score (number of trials: all 2, none 2)." in comparison.sentence
    assert [problem["seed"] for problem in comparison.problems] == ["3"]
    with pytest.raises(UserError, match="by must be a column in which these runs differ"):
        best_of(group(runs(last)), "model")


HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def page(made: Make) -> Path:
    """Of two groups of two runs whose texts and labels are markup."""
    for seed in (1, 2):
        for strategy, said in (("none", HOSTILE), ("all", "b")):
            last = made(f"freeze={strategy}", accuracy=0.9 if said == HOSTILE else 0.5, seed=seed)
            table = {"row": [1, 2], "text": [HOSTILE] * 2, "true": [HOSTILE, "b"], "predicted": [said, "b"]}
            table |= {"probabilities": [[0.6, 0.4], [0.4, 0.6]]}
            pyarrow.parquet.write_table(pyarrow.table(table), last.file("predictions", "test.parquet"))
            (last.path / "result.json").write_text(
                json.dumps(
                    last.read_result()
                    | {"history": [{"epoch": 1, "validation/loss": 0.5}], "best": {"epoch": 1}}
                    | {"labels": [HOSTILE, "b"]}
                )
            )
    groups = group(runs(last))
    return write_comparison(compare(groups, "accuracy", None, 0.01), groups, last.path.parent)


def test_a_page_stands_alone_and_shows_markup_as_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert text.count("</script>") == 1
    assert html.unescape(text).count(HOSTILE) == 4  # class, text, label, and the baseline's prediction
    assert not re.search(r"(src|href)=[\"'](?!data:)|https?://|url\(", text)
    (script,) = re.findall(r"<script>(.*)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    again = page.read_bytes()
    groups = group(read_runs(page.parent))
    write_comparison(compare(groups, "accuracy", None, 0.01), groups, page.parent)
    assert page.read_bytes() == again
    for name in ("differences", "seeds", "costs", "learning"):
        assert (page.parent / "plots" / f"{name}.png").stat().st_size > 5_000
        assert (page.parent / "plots" / f"{name}.svg").exists()


def test_a_full_disk_leaves_the_comparison_that_was_there(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, groups = page.parent, group(read_runs(page.parent))
    write(compare(groups, "accuracy", None, 0.01), root)
    before = {file.name: file.read_bytes() for file in root.glob("*compar*")}
    assert sorted(before) == ["compare.html", "comparison.csv", "comparison.json", "comparison.md"]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    other = compare(groups, "accuracy", "all", 0.02)
    for again in (lambda: write(other, root), lambda: write_comparison(other, groups, root)):
        with pytest.raises(OSError, match="No space left"):
            again()
    assert {file.name: file.read_bytes() for file in root.glob("*compar*")} == before


def test_recall_per_class_is_compared_with_the_baseline(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", text)]
    found = [[html.unescape(cell) for cell in row] for row in rows if len(row) == 3]
    differing = [HOSTILE, "1.000", "0.000 (-1.000)"]
    assert found[found.index(differing) + 1] == ["b", "1.000", "1.000 (+0.000)"]  # the same in both groups


def test_a_multirun_ends_with_the_comparison_that_the_config_describes(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "compare.yaml").write_text("{metric: f1_macro, baseline: all, margin: 0.03, cost: time}")
    monkeypatch.setattr("src.sweeps.multirun.CONF", tmp_path)
    Multirun().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(page.parent)}}, "sweep": {"by": None}}))
    found = json.loads(page.with_name("comparison.json").read_text())
    assert (found["metric"], found["baseline"], found["margin"]) == ("f1_macro", "all", 0.03)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser")
def test_a_browser_sorts_the_table_and_runs_nothing_else(page: Path) -> None:
    press = page.with_name("press.html")
    # The same page with a script of the test's own: it presses the heading and writes down what it sees.
    tried = """
    const heading = [...document.querySelectorAll("th button")].find((b) => b.textContent === "test accuracy");
    const rows = () => [...document.querySelectorAll("table.sortable")[0].tBodies].map((body) => body.rows[0]);
    const order = () => rows().map((row) => row.cells[0].textContent).join();
    const seen = [order()]; heading.click(); seen.push(order()); heading.click(); seen.push(order());
    document.querySelectorAll("details").forEach((d) => d.open = true);
    const asked = [...document.images].filter((image) => !image.src.startsWith("data:"));
    document.title = seen.join(" ") + " images:" + asked.length;
    """
    text = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page.read_text(encoding="utf-8"))
    press.write_text(text.replace("</body>", f"<script>{tried}</script></body>"), encoding="utf-8")
    ended = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=3000",
            "--dump-dom",
            press.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "<title>none,all all,none none,all images:0</title>" in ended.stdout
    assert "CONSOLE" not in ended.stderr


def test_intervals_of_scores_stay_where_scores_can_be(made: Make) -> None:
    for seed, accuracy in ((1, 0.02), (2, 0.3)):
        last = made("freeze=all", seed=seed, accuracy=accuracy)
    (row,) = compare(group(runs(last)), "accuracy", None, 0.01).rows
    interval = row.intervals["accuracy"]
    assert interval is not None
    assert (interval.low, interval.high) == (0, 1)


def test_equal_scores_share_the_first_place(made: Make) -> None:
    made("freeze=none")
    sentence = compare(group(runs(made("freeze=all"))), "accuracy", None, 0.01).sentence
    assert "none (25.0% of the weights train) has the best test accuracy, 0.800 with 1 seed, but" in sentence


def test_other_tests_are_refused_or_told(made: Make) -> None:
    made("freeze=none", "data.limit=50")
    found = runs(made("freeze=none", "data.limit=60"))
    with pytest.raises(UserError, match=r"must have the same test; these differ in data\.limit"):
        check_comparable(found)
    sentence = compare(group(found), "accuracy", None, 0.01).sentence
    assert "differ in data.limit, so their test scores may not be comparable" in sentence


def test_masks_and_tokenizer_are_part_of_the_test_of_masked_language_models(made: Make) -> None:
    for value in ("500", "600"):
        labelled = made("backbone=scratch", f"backbone.vocabulary={value}")
    assert differing_settings(runs(labelled)) == []
    for place in ("backbone.vocabulary=700", "model.masking.probability=0.4"):
        masked = made("model=bert_mlm", "backbone=scratch", place, objective="mlm")
    found = [run for run in runs(masked) if run.result and run.result["objective"] == "mlm"]
    assert differing_settings(found) == ["backbone.vocabulary", "model.masking.probability"]


def test_what_cannot_be_compared_is_refused(made: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs must be a folder that contains runs"):
        read_runs(tmp_path)
    last = made("freeze=all", accuracy=None)
    with pytest.raises(UserError, match="None of these runs has finished"):
        compare(group(runs(last)), "accuracy", None, 0.01)
    made("freeze=all")
    made("freeze=all")
    with pytest.raises(UserError, match="has seed 1 twice"):
        group(runs(last))


def test_other_data_is_refused_without_a_flag(made: Make) -> None:
    made("freeze=all", "data.batch_size=16")
    last = made("freeze=none")
    assert len(group(runs(last))) == 2
    with pytest.raises(UserError, match="baseline must name one group"):
        compare(group(runs(last)), "accuracy", "top:9", 0.01)
    made("freeze=none", "data.limit=50", seed=2)
    with pytest.raises(UserError, match=r"these differ in data\.limit"):
        check_comparable(runs(last))
    assert len(group(runs(last))) == 3


def test_a_foreign_target_is_read_and_never_built(made: Make, tmp_path: Path) -> None:
    last = made("freeze=all")
    file = last.path / "config.yaml"
    content: Any = OmegaConf.load(file)
    content.freeze = {"_target_": "os.system", "command": f"touch {tmp_path / 'built'}"}
    file.write_text(OmegaConf.to_yaml(content))
    (run,) = runs(last)
    assert run.strategy == "system"
    assert not (tmp_path / "built").exists()


@pytest.mark.slow
def test_pictures_show_the_best_of_very_many_groups(made: Make) -> None:
    for number in range(45):
        last = made("freeze=all", f"optimizer.head_lr={number + 1}e-5", accuracy=0.5 + number / 100)
        epochs = {"history": [{"epoch": 1, "validation/loss": 0.5}], "best": {"epoch": 1}}
        last.write_json("result.json", last.read_result() | epochs)
    groups = group(runs(last))
    page = write_comparison(compare(groups, "accuracy", None, 0.01), groups, last.path.parent)
    _, width, _ = imread(page.parent / "plots" / "seeds.png").shape
    assert width < 46 * 1.1 * 130
    text = page.read_text()
    assert "est 40 of 45 groups" in text
    assert text.count('<tr class="more">') == 45  # the tables have all
