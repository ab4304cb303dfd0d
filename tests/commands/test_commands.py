"""Whole commands in processes of their own, as a user starts them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.cli import run_command
from src.config.folder import CONF
from tests.conftest import SHARED

ROOT = CONF.parent


def run(
    tmp_path: Path, *arguments: str, tiny: Path | None = None, plain: bool = False
) -> subprocess.CompletedProcess[str]:
    options = [] if plain else ["callbacks.progress=null"]
    if not plain and not any(a.startswith("cache=") for a in arguments):
        options.append(f"cache={tmp_path / 'cache'}")
    if tiny:
        options += [f"backbone.name={tiny}", "data.max_length=32"]
    ended = subprocess.run(
        [sys.executable, "-m", "src.train", *arguments, *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


@pytest.mark.slow
def test_two_processes_see_every_row_once_and_come_to_the_result_of_one(tmp_path: Path, tiny_bert: Path) -> None:
    # Without dropout the two draw nothing at random, so that only the sharing of the batches can make a difference.
    options = ["model=bert_linear", "model.dropout=0", "freeze=all", "data.limit=801", "trainer.max_epochs=2"]
    one, two = tmp_path / "one", tmp_path / "two"
    run(tmp_path, f"run={one}", f"cache={one}/cache", "trainer=cpu", *options, tiny=tiny_bert)
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    run(tmp_path, f"run={two}", f"cache={two}/cache", *ddp, *options, tiny=tiny_bert)
    # Each process has encoded some of the chunks, and the store is the same.
    built = [{f.parent.name: f.read_bytes() for f in d.glob("cache/activations/*/values.bin")} for d in (one, two)]
    assert built[0] == built[1]
    assert max(len(f.read_text().splitlines()) for f in two.glob("cache/activations/*/journal.jsonl")) > 1
    for split in ("validation", "test"):
        assert result(two)["metrics"][split] == pytest.approx(result(one)["metrics"][split], abs=1e-4)
        rows = [
            pyarrow.parquet.read_table(d / "predictions" / f"{split}.parquet")["row"].to_pylist() for d in (one, two)
        ]
        assert rows[0] == rows[1] == sorted(set(rows[0]))
    for first, second in zip(result(one)["history"], result(two)["history"], strict=True):
        assert second["train/loss"] == pytest.approx(first["train/loss"], abs=1e-4)
    assert result(two)["environment"]["devices"] == 2


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_as_if_they_had_not_been(tmp_path: Path, tiny_bert: Path) -> None:
    options = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "model=bert_linear", "freeze=bottom"]
    options += ["freeze.layers=1", "data.limit=100", "trainer.max_epochs=6", "callbacks=no_early_stopping"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(tmp_path, f"run={whole}", *options, tiny=tiny_bert)
    given = [*options, f"run={cut}", f"cache={tmp_path}", f"backbone.name={tiny_bert}", "data.max_length=32"]
    command = [sys.executable, "-m", "src.train", *given, "callbacks.progress=null"]
    with (tmp_path / "log").open("w") as log:
        both = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    while not (cut / "checkpoints" / "last.ckpt").exists() and both.poll() is None:
        time.sleep(0.01)
    os.killpg(both.pid, signal.SIGKILL)
    both.wait()
    assert not (cut / "result.json").exists()
    run(tmp_path, f"run={cut}", "resume=true", plain=True)
    assert result(cut)["resumed"]
    assert result(cut)["history"] == result(whole)["history"]
    assert result(cut)["metrics"] == result(whole)["metrics"]


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_can_be_resumed(tmp_path: Path, tiny_bert: Path) -> None:
    folder = tmp_path / "run"
    options = [
        f"run={folder}",
        f"cache={tmp_path}",
        f"backbone.name={tiny_bert}",
        "data.max_length=32",
        "data.limit=60",
    ]
    endless = ["callbacks=no_early_stopping", "callbacks.progress=null", "trainer.max_epochs=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "src.train", *options, *endless],
        cwd=ROOT,
        # A shell that runs its tests in the background has told all that it starts to ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not (folder / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "interrupted"
    run(tmp_path, f"run={folder}", "resume=true", f"trainer.max_epochs={status['epoch']}", plain=True)
    assert len(result(folder)["history"]) == status["epoch"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [["callbacks.progress=null"], []], ids=["log", "bar"])
def test_a_run_whose_output_nobody_reads_on_is_an_interrupted_one(
    options: list[str], tmp_path: Path, tiny_bert: Path
) -> None:
    folder = tmp_path / "run"
    given = [f"run={folder}", f"cache={tmp_path}", f"backbone.name={tiny_bert}", "data.max_length=32", "data.limit=60"]
    command = [sys.executable, "-m", "src.train", *given, "trainer.max_epochs=2", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "stage" not in process.stdout.readline():
            assert process.poll() is None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert not said
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
def test_a_multirun_ends_with_its_runs_side_by_side(tmp_path: Path, tiny_bert: Path) -> None:
    ended = run(
        tmp_path, "-m", "experiment=transfer_vs_finetune", f"hydra.sweep.dir={tmp_path / 'sweep'}", tiny=tiny_bert
    )
    table = ended.stdout[ended.stdout.index("Runs in") :]
    for number, strategy in enumerate(("all", "none")):
        accuracy = result(tmp_path / "sweep" / f"{strategy}_seed_42_{number}")["metrics"]["test"]["accuracy"]
        assert re.search(rf"^{strategy} +1 .* {accuracy:.3f} \[0\.\d+, ", table, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["frozen_bilstm_multilabel", "pooled_binary"])
def test_the_reference_experiments_run(experiment: str, tmp_path: Path, tiny_bert: Path) -> None:
    run(tmp_path, f"run={tmp_path / 'run'}", f"experiment={experiment}", "trainer.max_epochs=1", tiny=tiny_bert)
    assert result(tmp_path / "run")["objective"] == ("binary" if experiment == "pooled_binary" else "multilabel")


@pytest.mark.slow
def test_the_embedded_backbone_learns_the_embedded_reviews(tmp_path: Path) -> None:
    polar = ["data=table", "data.path=src/data/examples/polarity.csv", "data.test_fraction=0.3"]
    run(tmp_path, f"run={tmp_path / 'run'}", *polar, "trainer.max_epochs=5")
    # Guessing gives 0.5, and on 192 texts a guess comes to 0.6 once in 300 times.
    assert result(tmp_path / "run")["metrics"]["test"]["accuracy"] > 0.6


@pytest.mark.slow
def test_masked_words_come_out_alike_from_two_processes(tmp_path: Path) -> None:
    tiny = ["model=bert_mlm", "backbone=scratch", "backbone/size=tiny", "backbone.vocabulary=400", "backbone.dropout=0"]
    options = [*tiny, "data.limit=80", "data.max_length=32", "trainer.max_epochs=2"]
    one, two = tmp_path / "one", tmp_path / "two"
    run(tmp_path, f"run={one}", "trainer=cpu", *options)
    run(tmp_path, f"run={two}", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", *options)
    for single, shared in zip(result(one)["history"], result(two)["history"], strict=True):
        assert single == pytest.approx(shared, rel=1e-3)
    assert result(one)["metrics"]["test"] == pytest.approx(result(two)["metrics"]["test"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
def test_rotten_tomatoes_reads_local_files_in_place_of_the_hub(tmp_path: Path, tiny_bert: Path) -> None:
    films = ["data=rotten_tomatoes", f"data.path={SHARED / 'rotten_tomatoes'}", "data.limit=100"]
    run(tmp_path, f"run={tmp_path / 'run'}", *films, "trainer.max_epochs=1", tiny=tiny_bert)
    assert result(tmp_path / "run")["texts"] == {"train": 100, "validation": 100, "test": 100}


@pytest.mark.parametrize(
    "text", ["plain", 'a "b" \\"c\\" \\\\', "${x} \\${y}", "[MASK], {a: 1}=2", "l'été\n\ttab \\", ""]
)
def test_a_text_is_taken_letter_for_letter(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "top=3", f"text={text}"])
    GlobalHydra.instance().clear()

    def main() -> None:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("predict", sys.argv[1:])
        assert cfg.text == text
        assert cfg.top == 3

    run_command(main, "predict", verbatim=("text",))


def test_the_flag_of_a_multirun_may_stand_between_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "seed=1", "-m", "freeze=all"])
    run_command(lambda: None, "train")
    assert sys.argv == ["train", "-m", "seed=1", "freeze=all"]
