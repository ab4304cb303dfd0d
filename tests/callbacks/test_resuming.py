"""What a resumed run accepts, refuses and falls back to. That it ends as it would have is in tests/faults."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from safetensors.torch import load_file, save_file

from src import train as training
from src.callbacks.saving import CheckpointFiles
from src.config.folder import CONF
from src.errors import UserError
from src.files import locks
from src.runs.checkpoints import newest_valid, read_verified
from src.runs.folder import RunFolder
from tests.conftest import LAYERS, PAIRS, REVIEWS, composed, longer, power_cut, refusal

Run = Callable[..., tuple[RunFolder, dict[str, Any]]]


@pytest.fixture
def broken(run_tiny: Run, tiny_bert: Path, tmp_path: Path) -> RunFolder:
    """A run of its own backbone and data that was interrupted in its second epoch."""
    shutil.copytree(tiny_bert, tmp_path / "own")
    shutil.copy(REVIEWS, tmp_path / "own.csv")
    with power_cut(1, 3):
        run_tiny(f"backbone.name={tmp_path / 'own'}", f"data.path={tmp_path / 'own.csv'}", "data.batch_size=8")
    return RunFolder(tmp_path / "run")


def resume(folder: RunFolder, how: str = "true") -> dict[str, Any]:
    return training.train(composed(f"run={folder.path}", f"resume={how}"), folder)


def _other_weights(root: Path) -> None:
    tensors = load_file(root / "own" / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"] += 1
    save_file(tensors, root / "own" / "model.safetensors", metadata={"format": "pt"})


def _other_cell(column: str, value: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with (root / "own.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row[column] = value if row[column].startswith("n") else row[column]
        with (root / "own.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)

    return change


def _other_config(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        file = root / "run" / "config.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return change


def _other_tokenizer(root: Path) -> None:
    file = root / "own" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"]["lowercase"] = False
    file.write_text(json.dumps(content))


CHANGED = {
    "weights": (_other_weights, "weights before training"),
    "labels": (_other_cell("sentiment", "none at all"), "labels"),
    "texts": (_other_cell("text", "no words"), r"texts of (train|validation|test), as tokens"),
    "batch size": (_other_config("  batch_size: 8", "  batch_size: 4"), "batch size: 8 then, 4 now"),
    "tokenizer": (_other_tokenizer, "tokenizer"),
}


@pytest.mark.parametrize("freeze", ["freeze=none", "freeze=all"])
@pytest.mark.rare
def test_a_run_on_pairs_goes_on_bit_for_bit(freeze: str, run_tiny: Run, tmp_path: Path) -> None:
    options = (f"data.text={PAIRS}", "model=bert_linear", freeze, "data.batch_size=8")
    run_tiny(*options, name="whole")
    with power_cut(1, 3):
        run_tiny(*options, name="cut")
    resume(RunFolder(tmp_path / "cut"))
    one, other = (read_verified(RunFolder(tmp_path / name).best_checkpoint) for name in ("whole", "cut"))
    assert one["global_step"] == other["global_step"]
    assert one["state_dict"].keys() == other["state_dict"].keys()
    assert all(torch.equal(tensor, other["state_dict"][name]) for name, tensor in one["state_dict"].items())


@pytest.mark.parametrize("what", CHANGED)
def test_what_a_run_is_made_of_may_not_change(what: str, broken: RunFolder, tmp_path: Path) -> None:
    change, named = CHANGED[what]
    change(tmp_path)
    with pytest.raises(UserError, match=named):
        resume(broken)
    assert broken.state() == "failed"  # as the interruption has left it


def test_phases_that_are_fitted_into_the_epochs_may_not_change(run_tiny: Run) -> None:
    folder, result = run_tiny("freeze=gradual", "freeze.every=null")
    assert [len(phase["trainable"]) for phase in result["phases"]] == [1, LAYERS + 2]
    with pytest.raises(UserError, match="number of phases: 2 then, 5 now"):
        training.train(longer(folder, "trainer.max_epochs=5"), folder)


def test_it_may_if_forced_and_the_result_says_so(broken: RunFolder, tmp_path: Path) -> None:
    _other_weights(tmp_path)
    (point,) = resume(broken, "force")["resumed"]
    assert list(point["changed"]) == ["weights before training"]
    assert point["step"] > 0


def test_a_run_without_a_checkpoint_starts_over(run_tiny: Run, tmp_path: Path) -> None:
    _, whole = run_tiny(name="whole")
    with power_cut(0, None):
        run_tiny(name="broken")
    found = resume(RunFolder(tmp_path / "broken"))
    assert found["metrics"] == whole["metrics"]
    assert found["resumed"] == []


def test_times_are_those_of_all_processes_of_the_run(broken: RunFolder) -> None:
    content = read_verified(broken.last_checkpoint)
    states = content["callbacks"]
    taken = states["Seconds"]["by_part"]
    assert 0 < states["Phases"]["encoding_seconds"] < taken["fit"] < taken["total"]
    taken |= {"data": 1000.0, "fit": 5000.0, "total": 9000.0}
    states["Phases"]["encoding_seconds"] = 2000.0
    CheckpointFiles().save_checkpoint(content, broken.last_checkpoint)
    seconds = resume(broken)["seconds"]
    rounded = {part: round(seconds[part], -3) for part in ("data", "fit", "encode", "test", "total")}
    assert rounded == {"data": 1000, "fit": 3000, "encode": 2000, "test": 0, "total": 9000}
    assert seconds["total"] > 9000


def test_a_folder_that_has_moved_knows_its_best(run_tiny: Run, broken: RunFolder, tmp_path: Path) -> None:
    best = torch.load(broken.best_checkpoint, weights_only=True)["global_step"]
    moved = RunFolder(broken.path.rename(tmp_path / "moved"))
    history = resume(moved)["history"]
    losses = [epoch["validation/loss"] for epoch in history]
    assert (
        torch.load(moved.best_checkpoint, weights_only=True)["global_step"]
        == min(history, key=lambda e: e["validation/loss"])["step"]
    )
    assert losses[0] == next(e["validation/loss"] for e in history if e["step"] == best)


class Terminate(Callback):
    """Asks the first process to stop in the second epoch, once."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx, trainer.global_rank) == (1, 2, 0) and "TERMINATE" in os.environ:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_each_of_two_processes_goes_on_with_its_own_state(tiny_bert: Path, tmp_path: Path) -> None:
    ended = f"{__name__}.{Terminate.__name__}"
    tiny = [f"backbone.name={tiny_bert}", "data.limit=60", "data.max_length=32", "data.batch_size=8"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2"]
    options = [*tiny, *ddp, "model=bert_linear", f"cache={tmp_path}", f"+callbacks.ended._target_={ended}"]

    def train(name: str, *given: str, **more: str) -> int:
        command = [sys.executable, "-m", "src.train", f"run={tmp_path / name}", *given]
        environment = {**os.environ, "THAW_TRUST": ended, **more}
        return subprocess.run(command, cwd=CONF.parent, env=environment, check=False, timeout=300).returncode

    assert train("whole", *options) == 0
    assert train("cut", *options, TERMINATE="1") == 128 + signal.SIGTERM
    assert train("cut", "resume=true") == 0
    whole, cut = (RunFolder(tmp_path / name) for name in ("whole", "cut"))
    assert cut.read_result()["history"] == whole.read_result()["history"]
    one, other = (read_verified(folder.last_checkpoint)["state_dict"] for folder in (whole, cut))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_second_process_is_refused(broken: RunFolder) -> None:
    broken.write_status("running")
    with broken.locked(), pytest.raises(UserError, match=r"being trained by process \d+ on "):
        resume(broken)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EROFS])
def test_a_folder_that_cannot_be_locked_is_told(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    folder = RunFolder(tmp_path / "run")
    folder.claim(composed())
    monkeypatch.setattr(fcntl, "flock", refusing)
    with pytest.raises(UserError, match=f"must be writable, and .*: {os.strerror(number)}\\."), folder.locked():
        pass
    with pytest.raises(UserError, match="already has a run"):
        folder.refuse_taken()


def test_what_a_killed_process_has_left_is_taken_away(broken: RunFolder) -> None:
    left = [broken.path / ".status.json.4711", broken.path / "checkpoints" / ".last.ckpt.4711"]
    for file in left:
        file.touch()
    with broken.locked():
        assert not any(file.exists() for file in left)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(broken: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    content = broken.last_checkpoint.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b""):
        broken.last_checkpoint.write_bytes(damaged)
        found = newest_valid(broken.checkpoints)
        assert found is not None
        assert found[0] == broken.best_checkpoint
    assert "is damaged: its SHA-256 is" in caplog.text
    assert "Resuming from best.ckpt" in caplog.text
    broken.last_checkpoint.write_bytes(content)
    broken.last_checkpoint.with_name("last.ckpt.sha256").write_bytes(b"\xff\x00")
    assert len(resume(broken)["history"]) == 2


def test_no_checkpoint_that_is_whole_is_an_error(broken: RunFolder) -> None:
    for file in broken.checkpoints:
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="No checkpoint is left to resume from"):
        resume(broken)


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_checkpoint_is_whole_at_every_moment(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.ckpt"
    CheckpointFiles().save_checkpoint({"state_dict": {}, "global_step": 1}, file)
    real, calls = Path.replace, 0

    def failing(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == ("before", "between", "after").index(moment) + 1:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(KeyboardInterrupt):
        CheckpointFiles().save_checkpoint({"state_dict": {}, "global_step": 2}, file)
    monkeypatch.undo()
    assert read_verified(file)["global_step"] == (2 if moment == "after" else 1)
    CheckpointFiles().save_checkpoint({"state_dict": {}, "global_step": 3}, file)
    assert read_verified(file)["global_step"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "last.ckpt.sha256"}


def test_fewer_epochs_than_are_done_are_refused(run_tiny: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = run_tiny()
    said = refusal("train", [f"run={folder.path}", "resume=true", "trainer.max_epochs=1"], capsys)
    assert "trainer.max_epochs must be at least what the run has done, 2 epochs; got 1" in said
    assert (folder.state(), folder.read_result()) == ("finished", before)


def test_weights_alone_are_nothing_to_go_on_from(broken: RunFolder) -> None:
    for file in broken.checkpoints:
        weights = {"state_dict": torch.load(file, weights_only=True)["state_dict"]}
        CheckpointFiles().save_checkpoint(weights, file)
    with pytest.raises(UserError, match="has weights only"):
        resume(broken)


def _weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda content: change(content["state_dict"])


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a tensor less": (_weights(lambda state: state.popitem()), "of another model"),
    "a tensor more": (_weights(lambda state: state.update(other=torch.zeros(1))), "of another model"),
    "other shape": (_weights(lambda state: state.update({next(iter(state)): torch.zeros(1)})), "size mismatch"),
    "of another tool": (lambda content: content["callbacks"].clear(), "checkpoint of this run"),
    "no place": (lambda content: content["loops"].clear(), "checkpoint of this run"),
    "list": (lambda content: content.update(state_dict=[1]), "checkpoint of this run"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_checkpoint_that_does_not_suit_the_run_is_refused(what: str, broken: RunFolder) -> None:
    spoil, message = SPOILT[what]
    for file in broken.checkpoints:
        content = torch.load(file, weights_only=True)
        spoil(content)
        CheckpointFiles().save_checkpoint(content, file)
    with pytest.raises(UserError, match=message):
        resume(broken)


def test_the_process_that_trains_a_run_is_named_where_it_is_known(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(composed())
    held = locks.acquire(folder.path / "config.yaml")
    assert held is not None
    folder.write_status("running")
    with pytest.raises(UserError, match=f"is being trained by process {os.getpid()} on"):
        folder.refuse_taken()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder.write_json("status.json", {**json.loads((folder.path / "status.json").read_text()), "pid": ended.pid})
    for _ in range(2):
        with pytest.raises(UserError, match="is being trained by another process"):
            folder.refuse_taken()
        folder.write_status("interrupted")
    locks.release(held)
