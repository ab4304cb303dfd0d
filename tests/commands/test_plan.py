"""`python -m src.plan` shows what a run does and costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from hydra import compose, initialize_config_dir

from src.config.folder import CONF
from src.data import corpus
from src.errors import UserError
from src.freezing.strategy import percent
from src.plan import plan
from tests.conftest import main, refusal

Shown = Callable[..., str]


@pytest.fixture
def shown(tiny_bert: Path, tmp_path: Path) -> Shown:
    def show(*overrides: str, scratch: bool = False) -> str:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            options = ["run=unset", "data.limit=60", "data.max_length=32", "trainer=cpu"]
            options += [] if scratch else [f"backbone.name={tiny_bert}"]
            cfg = compose("plan", [*options, f"cache={tmp_path / 'cache'}", *overrides])
        return plan(cfg).text

    return show


def numbers(text: str, column: str) -> list[float]:
    """A column of the table of costs, a number for each phase."""
    header, *rows = (re.split(r" {2,}", line.strip()) for line in text[text.index("\nphase ") :].split("\n")[1:])
    return [float(row[header.index(column)].replace(",", "")) for row in rows if len(row) == len(header)]


def test_phases_stand_side_by_side_and_nothing_is_written(shown: Shown, tmp_path: Path) -> None:
    text = shown("freeze=gradual", "freeze.down_to=layer.1", "model=bert_linear", "trainer.max_epochs=7")
    assert text.startswith("gradual:1: 3 phases, at most 7 epochs of 2 steps")
    shares = {row[0]: row[2:] for row in map(str.split, text.splitlines()) if len(row) == 5}
    assert shares["layer.0"] == ["-", "-", "-"]
    assert shares["layer.1"] == ["-", "-", "all"]
    assert shares["layer.2"] == ["-", "all", "all"]
    assert shares["head"] == ["all", "all", "all"]
    assert re.findall(r"^\d +(.*?)  ", text, re.MULTILINE) == ["1 epoch", "1 epoch", "to the end"]
    (total,) = re.findall(r"^total +([\d,]+)", text, re.MULTILINE)
    of_all = [trainable / int(total.replace(",", "")) for trainable in numbers(text, "trainable")]
    assert shares["total"] == [percent(share) for share in of_all]
    assert all(min(numbers(text, cost)) > 0 for cost in ("forward", "backward", "encoding"))
    assert len(numbers(text, "memory")) == 3
    (disk,) = re.findall(r"^Disk for checkpoints: ([\d.]+) MB while it trains$", text, re.MULTILINE)
    most = max(numbers(text, "trainable"))
    assert float(disk) == pytest.approx(2 * 3 * 4 * most / 1e6, abs=0.05)  # two files, Adam's moments, four bytes
    assert {folder.name for folder in (tmp_path / "cache").iterdir()} == {"tokens"}


@pytest.mark.parametrize(
    ("options", "said", "lasts"),
    [
        ("trainer.max_epochs=1", "phases 2 to 3", ["to the end", "not reached", "not reached"]),
        ("trainer.max_epochs=2", "phase 3", ["1 epoch", "to the end", "not reached"]),
        ("trainer.max_epochs=3", "", ["1 epoch", "1 epoch", "to the end"]),
        (
            "trainer.max_epochs=4 freeze.until=plateau",
            "phase 3",
            ["until a plateau of 1 validation", "to the end", "not reached"],
        ),
    ],
)
def test_phases_that_the_epochs_do_not_reach_are_named(options: str, said: str, lasts: list[str], shown: Shown) -> None:
    text = shown("freeze=gradual", "freeze.down_to=layer.1", "model=bert_linear", *options.split())
    epochs = "1 epoch" if "max_epochs=1" in options else r"\d epochs"
    assert re.match(rf"gradual:\w+: 3 phases, at most {epochs} of 2 steps\n", text)
    assert re.findall(r"The epochs do not reach (.*?)\. Raise trainer\.max_epochs", text) == [said] * bool(said)
    assert re.findall(r"^\d +(\S.*?)  ", text, re.MULTILINE) == lasts


def test_a_plan_shows_both_pretraining_and_classification(shown: Shown, tmp_path: Path) -> None:
    both = ["experiment=mlm_then_classify", "backbone/size=tiny", "backbone.vocabulary=400"]
    # Too few texts for such a vocabulary: the classification takes the tokenizer of the pretraining.
    both += ["data.limit=9", "+pretrain.data.limit=60", "pretrain.trainer.max_epochs=3", "trainer.max_epochs=1"]
    both += ["freeze@pretrain.freeze=lora"]
    text = shown(*both, "freeze=gradual", "freeze.down_to=layer.1", scratch=True)
    first, second = text.split("Classification with the pretrained backbone\n\n")
    assert first.startswith("Pretraining of the backbone\n\nlora:8: 1 phase, at most 3 epochs of 2 steps\n")
    assert second.startswith("gradual:1: 2 phases, at most 1 epoch of 1 step\nThe epochs do not reach phase 2.")
    embeddings = [re.findall(r"^embeddings +([\d,]+)", part, re.MULTILINE) for part in (first, second)]
    assert embeddings[0] == embeddings[1]
    assert {folder.name for folder in tmp_path.iterdir()} == {"cache"}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [("freeze=bottom freeze.layers=9", r"freeze\.layers must lie in 0\.\.2"), ("pretrain.model=null", "sections")],
)
def test_a_plan_refuses_what_a_pretrain_then_classify_run_refuses(mistake: str, message: str, shown: Shown) -> None:
    with pytest.raises(UserError, match=message):
        shown("experiment=mlm_then_classify", "backbone/size=tiny", *mistake.split(), scratch=True)


def test_a_stage_that_trains_in_part_says_how_much(shown: Shown) -> None:
    assert re.search(r"^layer\.0 +2,224 +6\.\d%$", shown("freeze=bitfit", "model=bert_linear"), re.MULTILINE)


def test_flops_are_those_of_the_matrix_products(shown: Shown, tiny_bert: Path, tokenizer: Any) -> None:
    live = shown("freeze=none", "model=bert_linear")
    cfg = transformers.AutoConfig.from_pretrained(tiny_bert)
    width, inner = cfg.hidden_size, cfg.intermediate_size
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = compose("train", ["data.limit=60", "run=unset"]).data
    from src.config.data import Data

    loaded = corpus.load(Data.model_validate(dict(settings)))
    texts = loaded.splits["train"].texts
    lengths = sorted(len(ids) for ids in tokenizer(list(texts), truncation=True, max_length=32)["input_ids"])
    # Pools of one bucket are sorted by length and cut in batches of 32.
    batches = [(32, lengths[31]), (28, lengths[-1])]
    expected = 0
    for rows, longest in batches:
        tokens = rows * longest
        dense = 2 * tokens * (4 * width * width + 2 * width * inner)
        expected += cfg.num_hidden_layers * (dense + 4 * tokens * longest * width) + 2 * rows * width * 3
    assert numbers(live, "forward") == [pytest.approx(expected / 1e12, rel=0.01)]
    assert numbers(live, "backward") == [pytest.approx(2 * expected / 1e12, rel=0.1)]
    stored = shown("freeze=all", "model=bert_linear")
    encoded = sum(map(len, tokenizer(list(loaded.texts), truncation=True, max_length=32)["input_ids"]))
    share = encoded / sum(rows * longest for rows, longest in batches)
    assert numbers(stored, "encoding")[0] == pytest.approx(share * expected / 1e12, rel=0.02)
    assert numbers(stored, "forward")[0] < expected / 1e12 / 100
    assert numbers(shown("freeze=all", "model=bert_linear", "activations=off"), "forward")[0] > expected / 1e12 * 0.99


def test_a_run_needs_the_flops_of_its_plan(shown: Shown, run_tiny: Any) -> None:
    live = shown("freeze=none", "model=bert_linear")
    _, result = run_tiny("freeze=none", "model=bert_linear", "callbacks=no_early_stopping")
    (phase,) = result["phases"]
    planned = numbers(live, "forward")[0] + numbers(live, "backward")[0]
    assert phase["operations"] / 1e12 == pytest.approx(len(result["history"]) * planned, rel=0.05)
    assert result["operations"] == phase["operations"]
    stored = shown("freeze=all", "model=bert_linear")
    results = [run_tiny("freeze=all", "model=bert_linear", name=name)[1] for name in ("first", "second")]
    encoding = [result["phases"][0]["activations"]["operations"] for result in results]
    assert encoding[0] / 1e12 == pytest.approx(numbers(stored, "encoding")[0], rel=0.1)
    part = shown("freeze=all", "model=bert_linear", "data.train_size=0.5")  # of which a run encodes all texts too
    assert numbers(part, "encoding")[0] == pytest.approx(numbers(stored, "encoding")[0], rel=0.1)
    assert encoding[1] == encoding[0]  # though the store was there
    assert results[0]["operations"] == results[1]["operations"] == encoding[0] + results[0]["phases"][0]["operations"]


def test_a_trial_takes_steps_and_says_how_long(shown: Shown) -> None:
    text = shown("freeze=lp_ft", "plan.trial=true")
    assert len(numbers(text, "time")) == 2
    assert min(numbers(text, "time")) >= 0


def test_what_a_run_refuses_a_plan_refuses(shown: Shown) -> None:
    with pytest.raises(UserError, match=r"must lie in 0\.\.3"):
        shown("freeze=bottom", "freeze.layers=9")


def test_the_total_is_that_of_all_phases_and_validations(shown: Shown) -> None:
    text = shown("freeze=gradual", "freeze.down_to=layer.1", "model=bert_linear", "trainer.max_epochs=7")
    epochs = [a + b for a, b in zip(numbers(text, "forward"), numbers(text, "backward"), strict=True)]
    training = epochs[0] + epochs[1] + 5 * epochs[2]
    stores = sum(numbers(text, "encoding"))
    (total,) = re.findall(r"^In all: at most (\S+) TFLOP$", text, re.MULTILINE)
    # Validation and test have as many texts each, and a forward pass is a third of a step.
    assert 1.2 * training + stores < float(total) < 1.5 * training + stores
    timed = shown("freeze=all", "model=bert_linear", "plan.trial=true")
    assert re.search(r"^In all: at most \S+ TFLOP, \d+ seconds?$", timed, re.MULTILINE)


def test_fewer_training_batches_leave_the_cost_of_validation_and_test(shown: Shown) -> None:
    totals, training = [], []
    for limit in ("1.0", "1"):
        text = shown("freeze=none", "model=bert_linear", "trainer.max_epochs=1", f"trainer.limit_train_batches={limit}")
        training.append(numbers(text, "forward")[0] + numbers(text, "backward")[0])
        totals.append(float(re.findall(r"^In all: at most (\S+) TFLOP$", text, re.MULTILINE)[0]))
    rest = [total - epoch for total, epoch in zip(totals, training, strict=True)]
    assert rest[1] == pytest.approx(rest[0], rel=0.1)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    """The rows of a plan of a multirun."""
    main("plan", ["trainer=cpu", "data.limit=60", "data.max_length=32", *arguments])
    return [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]


def test_a_plan_of_a_multirun_adds_up_its_runs(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"backbone.name={tiny_bert}", "model=bert_linear", f"cache={tmp_path}"]
    rows = planned(capsys, "-m", "freeze=none,all", "seed=1,2,3", *small)
    assert rows[0] == ["runs of", "runs", "TFLOP a run", "time a run", "time of all"]
    assert [row[:2] for row in rows[1:3]] == [["freeze=none", "3"], ["freeze=all", "3"]]
    (runs, flops) = re.findall(r"In all: (\d+) runs, at most (\S+) TFLOP, \d+ seconds?", rows[4][0])[0]
    assert runs == "6"
    assert float(flops) > 3 * sum(float(row[2]) for row in rows[1:3])  # and one encoding pass
    assert not list(tmp_path.glob("activations/*"))


def test_a_plan_of_a_race_counts_trials_and_what_suits_each_strategy(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"backbone.name={tiny_bert}", f"cache={tmp_path}"]
    rows = planned(capsys, "-m", "sweep=race", "freeze=none,all", "seed=1,2", "optimizer.lr=1e-4", *small)
    assert [row[:2] for row in rows[1:3]] == [["freeze=none", "2"], ["freeze=all", "5"]]  # no rate to choose for none
    assert rows[-1][0].endswith("A race leaves out runs that cannot change its answer.")


@pytest.mark.rare
def test_a_plan_of_a_multirun_without_a_trial_has_no_times(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"backbone.name={tiny_bert}", "model=bert_linear", f"cache={tmp_path}", "plan.trial=false"]
    rows = planned(capsys, "-m", "freeze=none,all", "seed=1,2", *small)
    assert rows[0] == ["runs of", "runs", "TFLOP a run"]
    assert re.fullmatch(r"In all: 4 runs, at most \S+ TFLOP if they run one after the other, .*", rows[4][0])


def test_a_plan_of_a_multirun_says_each_warning_once(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"a text with the number {n},{('good', 'Good', 'bad')[n % 3]}\n" for n in range(60))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    own = [f"data.path={tmp_path / 'texts.csv'}", f"backbone.name={tiny_bert}", f"cache={tmp_path}", "trainer=cpu"]
    main(
        "plan",
        ["-m", "freeze=all,mix", "data=table", "model=bert_linear", "plan.trial=false", "data.max_length=32", *own],
    )
    assert capsys.readouterr().err.count("labels that differ only") == 1


def test_a_search_has_no_plan(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    said = refusal("plan", ["sweep=search", "freeze=all"], capsys)
    assert said.startswith("A search chooses values as it goes")
